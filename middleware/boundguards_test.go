package middleware_test

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

const responses = api + "/v1/responses"

// statusOf makes a call, reads its answer and returns its status; 0 is an error.
func statusOf(t *testing.T, rt http.RoundTripper, method, url, body string, header ...string) int {
	t.Helper()
	req := post(t, url, body)
	req.Method = method
	if body == "" {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0
	}
	_ = readBody(t, resp)
	return resp.StatusCode
}

// kept returns two sites of which the second has made the resource with that
// answer, and the first is back.
func kept(t *testing.T, retries int, answer string) ([]*site, http.RoundTripper) {
	t.Helper()
	sites, rt := among(t, 2, retries, nil)
	sites[0].set(says(503, "down", "Retry-After", "1"))
	statusOf(t, rt, "POST", responses, `{"input":"hi"}`)
	sites[1].set(says(200, answer))
	statusOf(t, rt, "POST", responses, `{"input":"hi"}`)
	sites[0].set(nil)
	sites[1].set(nil)
	time.Sleep(time.Minute)
	statusOf(t, rt, "POST", responses, `{"input":"hi"}`)
	return sites, rt
}

// A call goes where the resource is that it names, as a string of its own in its
// path or its JSON body. Text that looks like one binds nothing.
func TestACallIsBoundByTheResourceThatItNames(t *testing.T) {
	const first, second = 0, 1
	for name, tc := range map[string]struct {
		url, body, contentType string
		want                   int
	}{
		"in the path":                        {responses + "/resp_1", "", "", second},
		"before the end of the path":         {responses + "/resp_1/input_items", "", "", second},
		"in the body":                        {responses, `{"previous_response_id":"resp_1"}`, "", second},
		"before another, which nobody knows": {responses, `{"previous_response_id":"resp_1","a":"resp_2"}`, "", second},
		"behind another, which nobody knows": {responses, `{"a":"resp_2","previous_response_id":"resp_1"}`, "", second},
		"inside of a text":                   {responses, `{"input":"what is \"resp_1"}`, "", first},
		"quoted in a text":                   {responses, `{"input":"what is \"resp_1\"?"}`, "", first},
		"in a chat":                          {chat, `{"model":"m","user":"resp_1"}`, "", first},
		"behind what is read ahead":          {responses, `{"input":"` + strings.Repeat("a", middleware.MaxReplayBody) + `","previous_response_id":"resp_1"}`, "", first},
		"in a form":                          {responses, `name="resp_1"`, "multipart/form-data; boundary=x", first},
		"in a form of a file":                {api + "/v1/files", `filename="resp_1"`, "multipart/form-data; boundary=x", first},
	} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := kept(t, 0, `{"id":"resp_1"}`)
			before := []int{sites[0].count(), sites[1].count()}
			method, want := "POST", []int{0, 0}
			if tc.body == "" {
				method = "GET"
			}
			if tc.contentType == "" {
				tc.contentType = "application/json"
			}
			want[tc.want]++
			statusOf(t, rt, method, tc.url, tc.body, "Content-Type", tc.contentType)
			only(t, name, sites, before, want...)
		})
	}
}

// What an answer names is where the answer came from, unless it is an error, or
// the name comes late or is none.
func TestAnAnswerBindsTheFirstResourceThatItNames(t *testing.T) {
	const first, second = 0, 1
	longest := "resp_" + strings.Repeat("a", 128-len("resp_"))
	for name, tc := range map[string]struct {
		answer, asked string
		want          int
	}{
		"its own name":           {`{"id":"resp_1"}`, "resp_1", second},
		"the one before it":      {`{"id":"resp_2","previous_response_id":"resp_1"}`, "resp_1", first},
		"the longest":            {`{"id":"` + longest + `"}`, longest, second},
		"one that is too long":   {`{"id":"` + longest + `a"}`, longest + "a", first},
		"one behind 8 KiB":       {`{"text":"` + strings.Repeat("a", 8<<10) + `","id":"resp_1"}`, "resp_1", first},
		"one at the end of them": {`{"text":"` + strings.Repeat("a", 8<<10-26) + `","id":"resp_1"}`, "resp_1", second},
	} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := kept(t, 0, tc.answer)
			before, want := []int{sites[0].count(), sites[1].count()}, []int{0, 0}
			want[tc.want]++
			statusOf(t, rt, "GET", responses+"/"+tc.asked, "")
			only(t, name, sites, before, want...)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(says(503, "down", "Retry-After", "1"))
		statusOf(t, rt, "POST", responses, `{"input":"hi"}`)
		sites[1].set(says(400, `{"error":{"message":"no","param":"resp_1"}}`))
		statusOf(t, rt, "POST", responses, `{"input":"hi"}`)
		time.Sleep(time.Minute)
		statusOf(t, rt, "GET", responses+"/resp_1", "")
		only(t, "named by an error", sites, nil, 2, 1)
	})
}

// The names that are remembered are the last 10000; one that comes again counts once.
func TestTheOldestResourceIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(says(503, "down", "Retry-After", "3600"))
		statusOf(t, rt, "POST", responses, `{"input":"hi"}`)
		make := func(from, to int) {
			for i := from; i < to; i++ {
				sites[1].set(says(200, `{"id":"resp_`+strconv.Itoa(i)+`"}`))
				if statusOf(t, rt, "POST", responses, `{"input":"hi"}`) != 200 {
					t.Fatal("a response was not made")
				}
			}
		}
		known := func(i int) bool {
			before := sites[1].count()
			sites[1].set(says(404, "{}"))
			statusOf(t, rt, "GET", responses+"/resp_"+strconv.Itoa(i), "")
			return sites[1].count() > before
		}
		make(0, 1)
		make(0, 1) // again
		make(1, 10000)
		if !known(0) || !known(9999) {
			t.Error("one of 10000 names is forgotten")
		}
		make(10000, 10002)
		if known(0) || known(1) {
			t.Error("more than 10000 names are remembered")
		}
		if !known(2) || !known(10000) || !known(10001) {
			t.Error("another than the oldest is forgotten")
		}
	})
}

// A call for a resource of which nobody knows where it is asks each endpoint
// once. What has no name is not looked for, and an answer that the resource
// itself gives is the caller's.
func TestWhatNobodyKnowsIsLookedForOnce(t *testing.T) {
	const missing = `{"error":{"code":"not_found"}}`
	long := strings.Repeat("a", 200)
	for name, tc := range map[string]struct {
		method, path, body string
		answer             tripFunc
		want               []int
	}{
		"a response":                      {"GET", "responses/resp_9", "", says(404, missing), []int{1, 1, 1}},
		"one before":                      {"POST", "responses", `{"previous_response_id":"resp_9"}`, says(400, `{"error":{"code":"previous_response_not_found"}}`), []int{1, 1, 1}},
		"a file":                          {"DELETE", "files/file-9", "", says(404, missing), []int{1, 1, 1}},
		"another fault of the caller's":   {"POST", "responses", `{"previous_response_id":"resp_9"}`, says(400, `{"error":{"code":"invalid_value"}}`), []int{1, 0, 0}},
		"a model that is missing":         {"POST", "responses", `{"previous_response_id":"resp_9"}`, says(404, `{"error":{"code":"model_not_found"}}`), []int{1, 0, 0}},
		"a list":                          {"GET", "files", "", says(404, missing), []int{1, 0, 0}},
		"the beginning of a name":         {"GET", "responses/resp_", "", says(404, missing), []int{1, 0, 0}},
		"a name that is too long for one": {"GET", "responses/resp_" + long, "", says(404, missing), []int{1, 0, 0}},
		"what the last asks to try again": {"GET", "responses/resp_9", "", says(404, missing, "X-Should-Retry", "true", "Retry-After", "0"), []int{1, 1, 4}},
	} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := among(t, 3, 5, nil)
			for _, s := range sites {
				s.set(tc.answer)
			}
			statusOf(t, rt, tc.method, api+"/v1/"+tc.path, tc.body)
			only(t, name, sites, nil, tc.want...)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 3, 5, nil)
		sites[0].set(says(404, missing))
		statusOf(t, rt, "GET", responses+"/resp_1", "")
		before := only(t, "found at the second", sites, nil, 1, 1, 0)
		sites[1].set(says(200, `{"id":"resp_1"}`))
		statusOf(t, rt, "GET", responses+"/resp_1", "")
		before = only(t, "and known from then on", sites, before, 1, 1, 0)
		sites[1].set(says(404, missing))
		statusOf(t, rt, "DELETE", responses+"/resp_1", "")
		only(t, "gone from where it was", sites, before, 0, 1, 0)
	})
}

// A list of models may come from any endpoint, what a call leaves behind may not.
func TestOnlyWhatLeavesNothingBehindGoesElsewhere(t *testing.T) {
	for call, elsewhere := range map[string]bool{
		"GET models": true, "POST embeddings": true, "POST chat/completions": true, "POST responses": true,
		"GET chat/completions": false, "GET responses": false, "POST files": false, "DELETE models": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := among(t, 2, 3, nil)
			sites[0].set(says(503, "down", "Retry-After", "3600"))
			method, path, _ := strings.Cut(call, " ")
			if status := statusOf(t, rt, method, api+"/v1/"+path, `{"model":"m"}`); (status == 200) != elsewhere {
				t.Errorf("%s: status %d, want it served elsewhere: %t", call, status, elsewhere)
			}
		})
	}
}

// The copy of a body in which names are looked for is read so far as Replay
// keeps one, and is closed; a body of which there is no copy is left alone.
func TestOnlyACopyOfTheBodyIsLookedInto(t *testing.T) {
	sites, rt := among(t, 1, 0, nil)
	endless := &closingBody{Reader: io.LimitReader(forever{}, 16<<20), closed: make(chan struct{})}
	req := jsonPost(t, "")
	req.URL.Path = "/v1/responses"
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader("{}")), -1
	req.GetBody = func() (io.ReadCloser, error) { return endless, nil }
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if left, _ := io.Copy(io.Discard, endless); !endless.isClosed() || left != 16<<20-middleware.MaxReplayBody {
		t.Errorf("the copy was closed: %t, and %d bytes of it were read", endless.isClosed(), 16<<20-left)
	}
	for _, none := range []io.ReadCloser{nil, http.NoBody} { // a copy of a body that is not sent
		req.Body, req.GetBody = none, func() (io.ReadCloser, error) {
			t.Error("the copy of no body was asked for")
			return nil, io.EOF
		}
		if resp, err = rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	own := newClosing(`{"previous_response_id":"resp_1"}`)
	sites[0].set(func(req *http.Request) (*http.Response, error) {
		if text, err := io.ReadAll(req.Body); err != nil || len(text) < 30 {
			t.Errorf("the endpoint got %q, %v", text, err)
		}
		return answer(req, 200, "{}"), nil
	})
	req = jsonPost(t, "")
	req.URL.Path = "/v1/responses"
	req.Body, req.GetBody, req.ContentLength = own, nil, -1
	if resp, err = rt.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// A body that comes as it is sent is not waited for ahead of the send.
func TestABodyOnItsWayIsNotWaitedForToFindNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 1, 0, nil)
		reader, writer := io.Pipe()
		sites[0].set(func(req *http.Request) (*http.Response, error) {
			go func() { // the caller writes once the request has arrived
				_, _ = io.WriteString(writer, `{"input":"hi"}`)
				_ = writer.Close()
			}()
			if text, err := io.ReadAll(req.Body); err != nil || string(text) != `{"input":"hi"}` {
				t.Errorf("the endpoint got %q, %v", text, err)
			}
			return answer(req, 200, "{}"), nil
		})
		req := jsonPost(t, "")
		req.URL.Path = "/v1/responses"
		req.Body, req.GetBody, req.ContentLength = reader, nil, -1
		resp, err := middleware.Replay()(rt).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	})
}

// A connection that is handed over stays one, no body stays none, and a request
// without a URL is no reason to panic.
func TestAnAnswerThatNamesNothingIsLeftAlone(t *testing.T) {
	sites, rt := among(t, 1, 0, nil)
	conn := struct{ io.ReadWriteCloser }{}
	for name, body := range map[string]io.ReadCloser{"a connection": conn, "no body": http.NoBody, "nil": nil} {
		sites[0].set(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			resp.Body = body
			return resp, nil
		})
		for _, path := range []string{"/v1/realtime", "/v1/responses"} {
			req := jsonPost(t, "{}")
			req.URL.Path = path
			resp, err := rt.RoundTrip(req)
			if err != nil || resp.Body != body {
				t.Errorf("%s from %s: %T, %v", name, path, resp.Body, err)
			}
		}
	}
	broken := errors.New("no URL")
	sites[0].set(func(*http.Request) (*http.Response, error) { return nil, broken })
	if _, err := rt.RoundTrip(&http.Request{Method: http.MethodPost}); !errors.Is(err, broken) {
		t.Errorf("without a URL: %v", err)
	}
}
