package wire

import (
	"context"
	"net"

	"optsweep/connectors/embedded"
	"optsweep/connectors/optoutlog"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

// FaultHelp describes the text form of ServeOptions.Faults.
const FaultHelp = embedded.FaultHelp

// ServeOptions say what the embedded operator serves over HTTP.
type ServeOptions struct {
	Listen            string
	OptOutLog         string
	AllowEmpty        bool
	Clients           string
	Rules             schemas.Rules
	MaxIDs            int
	CertFile, KeyFile string
	Faults            string

	IntakePath, IntakeIDParam, IntakeTimeParam string
	IntakeToken                                config.SecretRef // zero: no intake
	Replica                                    int
}

// ServeOperator serves until ctx is done, then finishes what is under way.
// listening is called once with the address.
func ServeOperator(ctx context.Context, s System, o ServeOptions, listening func(address string)) (err error) {
	faults, err := embedded.ParseFaults(o.Faults)
	if err != nil {
		return err
	}
	intake := embedded.IntakeOptions{
		Path: o.IntakePath, IDParam: o.IntakeIDParam, TimeParam: o.IntakeTimeParam, Replica: o.Replica, Rules: o.Rules,
	}
	if o.IntakePath != "" {
		if intake.Token, err = resolve(s, o.IntakeToken); err != nil {
			return err
		}
	}
	store := optoutlog.New(optoutlog.Options{Dir: o.OptOutLog, AllowEmpty: o.AllowEmpty || o.IntakePath != "", Log: s.Log, Now: s.Now})
	server, err := embedded.NewServer(embedded.Options{
		Store: store, Clients: o.Clients, Scope: o.Rules.Scope, MaxIDs: o.MaxIDs, Intake: intake, Faults: faults,
		CertFile: o.CertFile, KeyFile: o.KeyFile, Log: s.Log, Now: s.Now,
	})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := server.Close(); err == nil {
			err = closeErr
		}
	}()
	// Loaded before the port is open: whoever gets through gets answers. What
	// is wrong with a log shows here, not in the first answer.
	if err := store.Load(ctx); err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return schemas.Errorf(schemas.Usage, "%w", err).WithHint("name a free address with --listen")
	}
	if faults.Active() {
		s.Log.Warn("faults are injected on purpose: not for real use", "faults", o.Faults)
	}
	listening(l.Addr().String())
	return server.Serve(ctx, l)
}
