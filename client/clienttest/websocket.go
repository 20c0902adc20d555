package clienttest

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxFrame is the largest frame that the echo accepts.
const maxFrame = 1 << 20

// The opcodes and close codes of RFC 6455, sections 5.2 and 7.4.1, in use here.
const (
	opClose, opPing, opPong       = 0x8, 0x9, 0xa
	closeProtocolError, closeSize = 1002, 1009
)

// realtime upgrades to a WebSocket (RFC 6455, section 4.2) that echoes its
// messages until the client closes it. It needs HTTP/1.1.
func (c *call) realtime() {
	h := c.r.Header
	if !hasToken(h, "Connection", "upgrade") || !hasToken(h, "Upgrade", "websocket") {
		c.w.Header().Set("Upgrade", "websocket")
		c.refuse(http.StatusUpgradeRequired, "This endpoint requires a WebSocket connection.", "", "")
		return
	}
	nonce, err := base64.StdEncoding.DecodeString(h.Get("Sec-Websocket-Key"))
	if err != nil || len(nonce) != 16 || h.Get("Sec-Websocket-Version") != "13" {
		c.w.Header().Set("Sec-Websocket-Version", "13")
		c.refuse(http.StatusBadRequest, "Not a WebSocket handshake of version 13.", "", "")
		return
	}
	conn, rw, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		c.refuse(http.StatusBadRequest, "A WebSocket needs a connection of HTTP/1.1.", "", "")
		return
	}
	defer conn.Close()
	// The server does not know the connection any more: its end closes it.
	stop := context.AfterFunc(c.r.Context(), func() { conn.Close() })
	defer stop()
	c.ok.Add(1)
	sum := sha1.Sum([]byte(h.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n")
	if hasToken(h, "Sec-Websocket-Protocol", "realtime") {
		rw.WriteString("Sec-WebSocket-Protocol: realtime\r\n")
	}
	rw.WriteString("\r\n")
	if rw.Flush() == nil {
		echo(rw)
	}
}

// hasToken looks for token in a header that is a comma-separated list.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// echo returns each frame as it came, fragments too, which makes whole messages.
func echo(rw *bufio.ReadWriter) {
	for {
		head, payload, err := readFrame(rw.Reader)
		var broken closeError
		switch {
		case errors.As(err, &broken):
			head, payload = 0x80|opClose, binary.BigEndian.AppendUint16(nil, uint16(broken))
		case err != nil:
			return
		case head&0xf == opPing:
			head = 0x80 | opPong
		case head&0xf == opPong:
			continue
		}
		writeFrame(rw.Writer, head, payload)
		if rw.Flush() != nil || head&0xf == opClose {
			return
		}
	}
}

// A closeError is the close code for a frame that cannot be accepted.
type closeError uint16

func (closeError) Error() string { return "clienttest: WebSocket frame not acceptable" }

// readFrame reads a frame of a client (RFC 6455, section 5.2). head is its first
// byte: the final bit and the opcode.
func readFrame(r *bufio.Reader) (head byte, payload []byte, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return 0, nil, err
	}
	head = b[0]
	if head&0x70 != 0 || b[1]&0x80 == 0 { // an extension, or not masked
		return 0, nil, closeError(closeProtocolError)
	}
	size := uint64(b[1] & 0x7f)
	switch size {
	case 126:
		_, err = io.ReadFull(r, b[:2])
		size = uint64(binary.BigEndian.Uint16(b[:2]))
	case 127:
		_, err = io.ReadFull(r, b[:8])
		size = binary.BigEndian.Uint64(b[:8])
	}
	if err != nil {
		return 0, nil, err
	}
	if size > maxFrame {
		return 0, nil, closeError(closeSize)
	}
	var mask [4]byte
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head, payload, nil
}

// writeFrame buffers a frame of a server, which is not masked.
func writeFrame(w *bufio.Writer, head byte, payload []byte) {
	b := []byte{head}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	w.Write(b)
	w.Write(payload)
}
