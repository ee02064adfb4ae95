package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"optsweep/schemas"
)

// Serve answers on ln until ctx is done, then lets the requests under way
// finish for up to DrainTimeout. It loads the store at once and keeps it, the
// clients and the certificate up to date. It returns nil after a clean end;
// ln is closed in any case.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	conns := &connections{keys: s.metrics.keys}
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.opts.ReadTimeout,
		ReadTimeout:       s.opts.ReadTimeout,
		WriteTimeout:      s.opts.WriteTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
		ConnContext:       conns.context,
		ConnState:         conns.state,
	}
	work, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	background.Go(func() { s.every(work, s.opts.RefreshEvery, s.refreshStore, true) })
	background.Go(func() { s.every(work, s.opts.ClientsEvery, s.refreshFiles, false) })
	if s.intake != nil {
		background.Go(func() { s.every(work, s.opts.RotateEvery, s.rotate, false) })
	}
	failed := make(chan error, 1)
	background.Go(func() {
		if s.certs != nil {
			server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certs.get}
			failed <- server.ServeTLS(ln, "", "")
		} else {
			failed <- server.Serve(ln)
		}
	})
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	return s.drain(context.WithoutCancel(ctx), server)
}

func (s *Server) drain(ctx context.Context, server *http.Server) error {
	s.draining.Store(true)
	patience, cancel := context.WithTimeout(ctx, s.opts.DrainTimeout)
	defer cancel()
	err := server.Shutdown(patience)
	if err != nil {
		_ = server.Close()
		err = fmt.Errorf("requests were still under way after %s: %w", s.opts.DrainTimeout, err)
	}
	if s.intake != nil {
		err = errors.Join(err, s.intake.rotate(ctx))
	}
	return err
}

// every runs do now (if asked to) and then once per period, until ctx is done.
func (s *Server) every(ctx context.Context, period time.Duration, do func(context.Context), now bool) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	if now {
		do(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(ctx)
		}
	}
}

// Refresh brings the store, the clients and the certificate up to date, as
// Serve does from time to time. What cannot be read stays as it was, is logged,
// and makes the health check fail.
func (s *Server) Refresh(ctx context.Context) {
	s.refreshStore(ctx)
	s.refreshFiles(ctx)
}

func (s *Server) refreshStore(ctx context.Context) {
	if err := s.opts.Store.Load(ctx); err != nil && ctx.Err() == nil {
		s.opts.Log.ErrorContext(ctx, "opt-out log was not loaded; the state before is served", "error", err, "hint", schemas.HintOf(err))
	}
}

func (s *Server) refreshFiles(ctx context.Context) {
	if changed, err := s.clients.load(); err != nil {
		s.opts.Log.ErrorContext(ctx, "clients were not loaded; those before stay valid", "error", err)
	} else if changed {
		s.opts.Log.InfoContext(ctx, "clients loaded", "clients", len(s.clients.set.Load().all))
	}
	if s.certs != nil {
		if err := s.certs.load(); err != nil {
			s.opts.Log.ErrorContext(ctx, "certificate was not loaded; the one before is used", "error", err)
		}
	}
}

func (s *Server) rotate(ctx context.Context) {
	err := s.intake.rotate(ctx)
	if err != nil {
		s.intakeBad.Store(&err)
		s.opts.Log.ErrorContext(ctx, "opt-outs received stay in the journal", "error", err)
		return
	}
	s.intakeBad.Store(nil)
}

// certificates serve a TLS certificate from two files.
type certificates struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	problem           atomic.Pointer[error]
	mu                sync.Mutex // guards the rest
	certTime, keyTime time.Time
}

// load reads the files if either changed.
func (c *certificates) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.read()
	if err != nil {
		err = schemas.Errorf(schemas.Usage, "TLS certificate: %w", err)
		c.problem.Store(&err)
		return err
	}
	c.problem.Store(nil)
	return nil
}

func (c *certificates) read() error {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return err
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return err
	}
	if cert.ModTime().Equal(c.certTime) && key.ModTime().Equal(c.keyTime) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	c.certTime, c.keyTime = cert.ModTime(), key.ModTime()
	return nil
}

func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

func (c *certificates) health() error {
	if p := c.problem.Load(); p != nil {
		return *p
	}
	return nil
}
