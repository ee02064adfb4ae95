// Command optsweep reconciles warehouse data with EUID and UID2 opt-outs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"optsweep/cmd/optsweep/internal/cli"
)

//go:generate go run . docs man --out docs/man
//go:generate go run . docs markdown --out docs/commands.md

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal lets the command end cleanly; from then on the default
	// holds again, so that a second one stops it at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], cli.Surroundings{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv,
	}))
}
