//go:build unix

package client_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

// TestAStoppedProcessGoesOnAfterARotation is what a sandbox does to a function:
// the process stops with a request in flight and a connection idle, both die,
// the key is rotated, and the process goes on.
func TestAStoppedProcessGoesOnAfterARotation(t *testing.T) {
	service := clienttest.NewService(keyOf(0))
	inFlight := make(chan struct{})
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 3 {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice
			close(inFlight)
			<-r.Context().Done() // until its connection is gone
			return
		}
		service.ServeHTTP(w, r)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "key")
	publish(t, file, keyOf(0))

	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoppedChild$", "-test.v")
	child.Env = append(os.Environ(), "LATCHKEY_TEST_CHILD=1", "OPENAI_BASE_URL="+server.URL+"/v1/", "LATCHKEY_TEST_FILE="+file)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Stderr = child.Stdout
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	<-inFlight
	signal(t, child, syscall.SIGSTOP)
	server.CloseClientConnections()
	publish(t, file, keyOf(1))
	service.Rotate(keyOf(1))
	signal(t, child, syscall.SIGCONT)

	passed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "all calls succeeded" {
			passed = true
		} else if testing.Verbose() {
			t.Log(lines.Text())
		}
	}
	if err := child.Wait(); err != nil || !passed {
		t.Errorf("the child: %v, all calls succeeded: %t", err, passed)
	}
}

func signal(t *testing.T, child *exec.Cmd, sig os.Signal) {
	t.Helper()
	if err := child.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".next", []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		t.Fatal(err)
	}
}

// TestStoppedChild is the program that is stopped. Alone it has nothing to do.
func TestStoppedChild(t *testing.T) {
	if os.Getenv("LATCHKEY_TEST_CHILD") == "" {
		return
	}
	c, err := client.New(client.Config{Source: credential.File(os.Getenv("LATCHKEY_TEST_FILE"))})
	if err != nil {
		t.Fatal(err)
	}
	// Two at once, so that a second connection is idle during the call in flight.
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := c.Post(t.Context(), "chat/completions", chatRequest, nil)
			results <- err
		}()
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("all calls succeeded")
}
