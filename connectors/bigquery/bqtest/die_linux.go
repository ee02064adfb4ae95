package bqtest

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end cmd when the thread that starts it ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
