//go:build unix

package operator_test

import (
	"bufio"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"optsweep/schemas"
)

// A server may answer before it has read the request. The transport then still
// reads the buffer, which must not be used for the next attempt.
func TestAnswerBeforeTheRequestIsRead(t *testing.T) {
	small := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	l, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				head := bufio.NewReaderSize(conn, 16)
				for line := "-"; line != "\r\n"; {
					if line, err = head.ReadString('\n'); err != nil {
						return
					}
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
				<-end
			})
		}
	})
	f := newFake(t)
	c, s := newClient(t, f, func(s *setup) {
		s.URL = "http://" + l.Addr().String()
		s.Timeout, s.Deadline = 100*time.Millisecond, 2*time.Second
	})
	_, err = c.Check(t.Context(), makeIDs(5000))
	if schemas.ClassOf(err) != schemas.Failed || len(s.clock.slept) == 0 {
		t.Error(err)
	}
	c.Close()
	close(end)
	_ = l.Close()
	wg.Wait()
}
