// Observability shows what a program sees of its calls, its keys and its bill:
// without a container, without an agent and without an account. It runs two
// services of its own under load, rotates their keys, and serves a page on this
// machine that shows calls, tokens, cost, rotations, health and alerts as they
// happen.
//
//	go run ./examples/observability
//	go run ./examples/observability -snapshot page.html
//
// The second line writes the page as one file, after 30 seconds or as long as -for
// says. Everything on the page comes from what client.Config and package
// audit/anomaly offer to any program; account.go is all that it takes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	addr := flag.String("addr", "localhost:8642", "where the page is served; an address of this machine only")
	length := flag.Duration("for", 0, "how long; 0 is until Ctrl+C, and 30s with -snapshot")
	snapshot := flag.String("snapshot", "", "write the page to this `file` at the end")
	flag.Parse()
	if *snapshot != "" && *length == 0 {
		*length = 30 * time.Second
	}
	if err := run(ctx, os.Stdout, *addr, *length, *snapshot); err != nil {
		fmt.Fprintln(os.Stderr, "observability:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, out io.Writer, addr string, length time.Duration, snapshot string) error {
	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	w, err := newWorld(time.Second)
	if err != nil {
		return err
	}
	defer w.close()
	listener, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: w.account.routes(), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			_, _ = fmt.Fprintln(out, "the page ends:", err)
		}
	}()
	defer server.Close()
	_, _ = fmt.Fprintf(out, "http://%s/\n", listener.Addr())
	if err := w.play(ctx); err != nil {
		return err
	}
	if snapshot != "" {
		page, err := w.account.page()
		if err != nil {
			return err
		}
		if err := os.WriteFile(snapshot, page, 0o600); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(out, "written:", snapshot)
	}
	return nil
}

// listen listens on an address of this machine: the page is for who sits at it.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = l.Close()
		return nil, fmt.Errorf("%s is not an address of this machine alone; want localhost:PORT", addr)
	}
	return l, nil
}
