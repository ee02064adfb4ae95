package wire

import (
	"context"
	"net/url"

	"optsweep/connectors/embedded"
	"optsweep/connectors/operator"
	"optsweep/connectors/optoutlog"
	"optsweep/jobs/config"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// asked is the operator of a job, ready to be asked.
type asked struct {
	checker     checker
	canaries    func(context.Context) (int, error) // nil: none configured
	retries     func() int64
	operator    schemas.Operator
	fingerprint string // of the API key; empty when embedded
	close       func()
}

// checker is what both kinds of operator offer.
type checker interface {
	sweep.Checker
	Check(ctx context.Context, ids []schemas.ID) (schemas.Answer, error)
}

func newAsked(ctx context.Context, s System, job *config.Job) (asked, error) {
	a, err := newOperator(ctx, s, job)
	if err != nil || job.Operator.CanariesFile == "" {
		return a, err
	}
	canaries, err := config.ReadCanaries(job.Operator.CanariesFile, job.Rules())
	if err != nil {
		a.close()
		return a, err
	}
	list := make([]operator.Canary, len(canaries))
	for i, c := range canaries {
		list[i] = operator.Canary{ID: c.ID, ExpectOptedOut: c.OptedOut, Line: c.Line}
	}
	a.canaries = func(ctx context.Context) (int, error) {
		return len(list), operator.CheckCanaries(ctx, a.checker, list)
	}
	return a, nil
}

// nobody stands in for the operator where it is not asked: neither keys nor
// canaries are needed.
func nobody(_ context.Context, _ System, job *config.Job) (asked, error) {
	return asked{operator: schemas.Operator{Kind: string(job.Operator.Kind)}, close: func() {}}, nil
}

func newOperator(ctx context.Context, s System, job *config.Job) (asked, error) {
	if job.Operator.Kind == config.Embedded {
		return newEmbedded(ctx, s, job)
	}
	options := operatorOptions(s, job)
	now, err := options.Credentials(ctx)
	if err != nil {
		return asked{}, err
	}
	client, err := operator.New(options)
	if err != nil {
		return asked{}, err
	}
	return asked{
		checker: client,
		retries: func() int64 { return client.Stats().Retries },
		operator: schemas.Operator{
			Kind: string(job.Operator.Kind), Host: client.URL(), KeyName: operator.KeyName(now.APIKey),
		},
		fingerprint: operator.KeyFingerprint(now.APIKey),
		close:       client.Close,
	}, nil
}

func operatorOptions(s System, job *config.Job) operator.Options {
	return operator.Options{
		Kind: operator.Kind(job.Operator.Kind), URL: job.Operator.URL, Scope: job.Scope, Environment: job.Environment,
		Credentials: func(context.Context) (c operator.Credentials, err error) {
			if c.APIKey, err = resolve(s, job.Operator.APIKey); err != nil {
				return c, err
			}
			c.ClientSecret, err = resolve(s, job.Operator.ClientSecret)
			return c, err
		},
		Parallel: job.Operator.Parallel, Binary: job.Operator.Binary, CAFile: job.Operator.CAFile,
		AllowPlainHTTP: job.Operator.AllowPlainHTTP, AllowHosts: allowedHosts(job),
		ClientVersion: "optsweep-" + Version(), Logger: s.Log, Now: s.Now,
	}
}

func resolve(s System, ref config.SecretRef) (schemas.Secret, error) {
	secret, warning, err := ref.Resolve(s.LookupEnv)
	if warning != "" {
		s.Log.Warn(warning)
	}
	return secret, err
}

// newEmbedded answers from the opt-out log of the job, as it is now.
func newEmbedded(ctx context.Context, s System, job *config.Job) (asked, error) {
	store := optoutlog.New(optoutlog.Options{Dir: job.Operator.OptOutLog, Log: s.Log, Now: s.Now})
	if err := store.Load(ctx); err != nil {
		return asked{}, err
	}
	checker, err := embedded.NewChecker(store)
	if err != nil {
		return asked{}, err
	}
	return asked{checker: checker, operator: schemas.Operator{Kind: string(config.Embedded)}, close: func() {}}, nil
}

// allowedHosts lets the job's own host through where the job file says that a
// host of another scope or environment is meant.
func allowedHosts(job *config.Job) []string {
	u, err := url.Parse(job.Operator.URL)
	if err != nil || !job.Operator.AllowHostMismatch {
		return nil
	}
	return []string{u.Hostname()}
}
