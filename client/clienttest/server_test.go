package clienttest_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

func TestATLSServerSpeaksHTTP2WithItsCertificate(t *testing.T) {
	srv := clienttest.NewTLSServer(key1)
	defer srv.Close()
	srv.SetJournal(true)
	if srv.Err != nil || !strings.HasPrefix(srv.URL, "https://127.0.0.1:") || srv.URL != srv.Origin+"/v1/" {
		t.Fatalf("%v, URL %s", srv.Err, srv.URL)
	}
	a := mustSend(t, srv.Client().Transport, newRequest(t, "GET", srv.URL+"models", "", "Authorization: Bearer "+key1))
	if list := srv.Requests(); a.status != 200 || len(list) != 1 || list[0].Proto != "HTTP/2.0" {
		t.Errorf("%d, %d requests", a.status, len(list))
	}
	if _, err := send(&http.Transport{}, newRequest(t, "GET", srv.URL+"models", "")); err == nil {
		t.Error("trusted without the certificate")
	}
	block, _ := pem.Decode(srv.CertPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1", "::1", "localhost", "example.com", "r.openai.azure.com"} {
		if err := cert.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	for _, srv := range []*clienttest.Server{clienttest.NewServer(key1), clienttest.NewTLSServer(key1)} {
		srv.SetJournal(true)
		srv.Inject(clienttest.Fault{Hang: true})
		done := make(chan error, 1)
		go func() {
			_, err := send(srv.Client().Transport, newRequest(t, "POST", srv.URL+"chat/completions", chatBody, "Authorization: Bearer "+key1))
			done <- err
		}()
		for len(srv.Requests()) == 0 { // until it has arrived
			runtime.Gosched()
		}
		ws := dialWebSocket(t, srv, key1)
		srv.Close()
		srv.Close()
		if err := <-done; err == nil {
			t.Error("the hanging request was answered")
		}
		if _, err := ws.ReadByte(); err == nil {
			t.Error("the WebSocket is open")
		}
		if _, err := send(srv.Client().Transport, newRequest(t, "GET", srv.URL+"models", "")); err == nil {
			t.Error("a closed server answers")
		}
	}
}

// webSocket is the client's end; its frames are masked.
type webSocket struct {
	net.Conn
	*bufio.Reader
	status string
	header string
}

func (w webSocket) Read(p []byte) (int, error) { return w.Reader.Read(p) }

func dialWebSocket(t *testing.T, srv *clienttest.Server, key string, more ...string) webSocket {
	t.Helper()
	u, err := url.Parse(srv.Origin)
	if err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	if u.Scheme == "https" {
		conf := srv.Client().Transport.(*http.Transport).TLSClientConfig
		conf.NextProtos = []string{"http/1.1"}
		conn, err = tls.Dial("tcp", u.Host, conf)
	} else {
		conn, err = net.Dial("tcp", u.Host)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if len(more) == 0 {
		more = []string{"Sec-WebSocket-Version: 13"}
	}
	// The key and its accept value are the example of RFC 6455, section 1.3.
	fmt.Fprintf(conn, "GET /v1/realtime?model=m HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: realtime, other\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", key, strings.Join(more, "\r\n"))
	w := webSocket{Conn: conn, Reader: bufio.NewReader(conn)}
	for {
		line, err := w.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if w.status == "" {
			w.status = strings.TrimSpace(line)
		} else if line == "\r\n" {
			return w
		}
		w.header += line
	}
}

func (w webSocket) send(head byte, payload []byte) {
	frame := []byte{head}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	w.Conn.Write(frame)
}

func (w webSocket) receive() (head byte, payload []byte, err error) {
	var b [8]byte
	if _, err := io.ReadFull(w, b[:2]); err != nil {
		return 0, nil, err
	}
	head, size := b[0], uint64(b[1])
	switch size {
	case 126:
		_, err = io.ReadFull(w, b[:2])
		size = uint64(binary.BigEndian.Uint16(b[:2]))
	case 127:
		_, err = io.ReadFull(w, b[:8])
		size = binary.BigEndian.Uint64(b[:8])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(w, payload)
	return head, payload, err
}

func TestTheWebSocketEchoesAndCloses(t *testing.T) {
	for _, srv := range []*clienttest.Server{clienttest.NewServer(key1), clienttest.NewTLSServer(key1)} {
		defer srv.Close()
		srv.Inject(clienttest.Fault{Delay: time.Nanosecond}) // it does not hide the connection
		w := dialWebSocket(t, srv, key1)
		if w.status != "HTTP/1.1 101 Switching Protocols" || !strings.Contains(w.header, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") ||
			!strings.Contains(w.header, "Sec-WebSocket-Protocol: realtime\r\n") {
			t.Fatalf("%s\n%s", w.status, w.header)
		}
		w.send(0x8a, []byte("a pong is not answered"))
		for _, f := range []struct {
			head, want byte
			payload    []byte
		}{
			{0x81, 0x81, []byte("hello")},
			{0x81, 0x81, nil},
			{0x82, 0x82, bytes.Repeat([]byte("x"), 300)},
			{0x81, 0x81, bytes.Repeat([]byte("y"), 70_000)},
			{0x01, 0x01, []byte("frag")},
			{0x80, 0x80, []byte("ment")},
			{0x89, 0x8a, []byte("ping")},
			{0x88, 0x88, []byte{0x03, 0xe8}},
		} {
			w.send(f.head, f.payload)
			if head, got, err := w.receive(); err != nil || head != f.want || !bytes.Equal(got, f.payload) {
				t.Fatalf("frame %x of %d bytes: %x, %d bytes, %v", f.head, len(f.payload), head, len(got), err)
			}
		}
		if _, err := w.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after the close: %v", err)
		}
	}
}

func TestTheWebSocketRefusesWhatItCannotTake(t *testing.T) {
	srv := clienttest.NewServer(key1)
	defer srv.Close()
	for want, w := range map[string]webSocket{
		"HTTP/1.1 401 Unauthorized": dialWebSocket(t, srv, key2),
		"HTTP/1.1 400 Bad Request":  dialWebSocket(t, srv, key1, "Sec-WebSocket-Version: 8"),
	} {
		if w.status != want {
			t.Errorf("%s, want %s", w.status, want)
		}
	}
	for name, c := range map[string]struct {
		frame []byte
		code  uint16
	}{
		"not masked":   {[]byte{0x81, 0x01, 'a'}, 1002},
		"an extension": {[]byte{0xc1, 0x80, 0, 0, 0, 0}, 1002},
		"too large":    {[]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1}, 1009},
	} {
		w := dialWebSocket(t, srv, key1)
		w.Conn.Write(c.frame)
		if head, got, err := w.receive(); err != nil || head != 0x88 || len(got) != 2 || binary.BigEndian.Uint16(got) != c.code {
			t.Errorf("%s: %x %v %v", name, head, got, err)
		}
	}
	// In memory and over HTTP/2 there is no connection to be had.
	headers := []string{"Authorization: Bearer " + key1, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	if a := mustSend(t, clienttest.NewService(key1), newRequest(t, "GET", base+"/v1/realtime", "", headers...)); a.status != 400 {
		t.Errorf("in memory: %d", a.status)
	}
}

func BenchmarkChatInMemory(b *testing.B) {
	svc := clienttest.NewService(key1)
	body := strings.NewReader(chatBody)
	req, err := http.NewRequest("POST", base+chatPath, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key1)
	req.Body = io.NopCloser(body)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(chatBody)
		resp, err := svc.RoundTrip(req)
		if err != nil || resp.StatusCode != 200 {
			b.Fatal("the call failed")
		}
	}
}
