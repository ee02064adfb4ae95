package cli

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"optsweep/cmd/optsweep/internal/wire"
	"optsweep/schemas"
)

const listenDefault = "127.0.0.1:9090"

func (a *app) scheduleCommand() *cobra.Command {
	var o wire.ScheduleOptions
	c := &cobra.Command{
		Use:   "schedule",
		Short: "Run jobs on their schedules, and serve a status page",
		Long: "schedule stays and runs each job when its schedule says so, as optsweep run does.\n" +
			"What became of every fire, also of those that were skipped, is kept in\n" +
			"schedule/JOB.ndjson of the workspace before anything is done about it, so that\n" +
			"after a crash no fire runs twice or is forgotten. Jobs that share a workspace or\n" +
			"an API key run one after the other.\n\n" +
			"SIGHUP reads the job files again; a bad one leaves its job as it was. SIGTERM and\n" +
			"SIGINT stop the runs under way cleanly and end with exit code 0; the runs go on\n" +
			"when the daemon starts again. A second signal ends it at once, with 130.\n\n" +
			"The page at --listen is read-only, and has no password: / for people, /healthz\n" +
			"(200 as long as the loop turns), /readyz (200 once jobs are loaded; a failed\n" +
			"reload does not change that) and /jobs/JOB/runs/RUN/report.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Spare = !cmd.Flags().Changed("listen")
			if o.Listen == "off" {
				o.Listen = ""
			}
			hup, ends := make(chan os.Signal, 1), make(chan os.Signal, 2)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			signal.Notify(ends, os.Interrupt, syscall.SIGTERM)
			defer signal.Stop(ends)
			reload := make(chan struct{})
			o.Reload = reload
			done := make(chan error, 1)
			go func() {
				done <- wire.Schedule(cmd.Context(), a.system(), o, func(address string) {
					fmt.Fprintf(a.Stdout, "status page on http://%s/\n", address)
				})
			}()
			for ended := 0; ; {
				select {
				case err := <-done:
					return err
				case <-hup:
					select {
					case reload <- struct{}{}:
					case err := <-done:
						return err
					}
				case <-ends:
					if ended++; ended > 1 {
						return schemas.Errorf(schemas.Cancelled, "ended at once").WithHint("the runs go on when the daemon starts again")
					}
				}
			}
		},
	}
	// In place of the global flag, which names one file.
	c.PersistentFlags().StringArrayVarP(&o.Configs, "config", "c", []string{"optsweep.yaml"}, "job file, or folder of *.yaml job files (repeatable)")
	c.Flags().StringVar(&o.Listen, "listen", listenDefault, "address of the status page, or off")
	c.AddCommand(a.explainCommand(&o.Configs))
	return c
}
