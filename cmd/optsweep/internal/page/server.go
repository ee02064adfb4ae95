package page

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"optsweep/schemas"
)

// Listen opens the port. The host must be named: all addresses of a machine
// are served only if that is what was asked for.
func Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return nil, schemas.Errorf(schemas.Usage, "--listen is %q, want host and port", address).
			WithHint("127.0.0.1:9090 is for this machine only, 0.0.0.0:9090 for all that can reach it; off serves nothing")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "--listen: %w", err).WithHint("name a free address with --listen, or off")
	}
	return l, nil
}

// Loopback tells whether only this machine can reach a listener.
func Loopback(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Serve serves until ctx is done.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	err := server.Shutdown(patience)
	if err != nil {
		_ = server.Close()
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		return served
	}
	return nil
}
