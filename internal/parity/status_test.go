package parity_test

import (
	"fmt"
	"net/http"
	"time"
)

// The reasons that rows of the table give.
const (
	whyNever = "501 and 505 say that the server will never do it"
	why401   = "for two seconds a refused credential's store is asked for a new one, and then the refused one is tried once more: a rotation looks the same"
)

var bodies = []struct{ name, mediaType, text string }{
	{"JSON", "application/json", `{"error":{"message":"not now","type":"t","code":"c","param":null}}`},
	{"HTML", "text/html", "<html><body><h1>Not now</h1></body></html>"},
	{"no body", "", ""},
}

// failing answers the sends up to last with an error, and later ones well. A
// last of 0 is without end.
func failing(last int, answer http.HandlerFunc) func(*network) {
	return handle(func(number int, w http.ResponseWriter, r *http.Request) {
		if last == 0 || number <= last {
			answer(w, r)
			return
		}
		complete(w)
	})
}

func complete(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(completion))
}

// refuse answers with a status; header are pairs.
func refuse(status int, mediaType, text string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if mediaType != "" {
			w.Header().Set("Content-Type", mediaType)
		}
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
}

// busy is a status with a JSON body.
func busy(status int, header ...string) http.HandlerFunc {
	return refuse(status, bodies[0].mediaType, bodies[0].text, header...)
}

// statusRows are all statuses of failure, with each kind of body, over both
// protocols, once and for ever.
func statusRows() (rows []row) {
	for status := 400; status <= 599; status++ {
		for _, body := range bodies {
			for _, p := range []protocol{http1, http2Plain} {
				for _, last := range []int{1, 0} {
					pattern := map[int]string{1: "once", 0: "always"}[last]
					rows = append(rows, row{
						class:    statusClass(status) + ", " + pattern,
						name:     fmt.Sprintf("%d, %s", status, body.name),
						protocol: p,
						server:   failing(last, refuse(status, body.mediaType, body.text)),
						calls:    chatOnce,
						but:      statusException(status, last),
						must:     statusMust(status),
					})
				}
			}
		}
	}
	return rows
}

func statusClass(status int) string {
	switch {
	case status == 401:
		return "Status 401"
	case status == 408, status == 409, status == 429:
		return fmt.Sprint("Status ", status)
	case status == 501, status == 505:
		return "Status 501 or 505"
	case status >= 500:
		return "Other status of 500 to 599"
	}
	return "Other status of 400 to 499"
}

func statusException(status, last int) *exception {
	switch {
	case status == 401 && last == 0:
		return except(why401, inSends, inWait)
	case (status == 501 || status == 505) && last == 1:
		return except(whyNever, inOutcome)
	}
	return nil
}

// statusMust bounds what a refusal of the credential costs.
func statusMust(status int) func(outcome) string {
	if status != 401 {
		return nil
	}
	return func(o outcome) string {
		if o.sends > 2 || o.wait > 2*time.Second {
			return fmt.Sprintf("%d sends, %v, for one refusal of the credential", o.sends, o.wait)
		}
		return ""
	}
}
