//go:build !linux

package bqtest

import "os/exec"

// dieWithParent does nothing: here an emulator outlives a test binary that is
// killed.
func dieWithParent(*exec.Cmd) {}
