package awssdk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssdk"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/platform/platformtest"
)

// An instance is the metadata service of one, in memory.
type instance struct {
	hops     bool // containers get no answer to their request for a token
	required bool // a token is
	norole   bool
	off      bool
	nobody   bool // answers at all
	page     bool // of a proxy, in place of each answer
	slow     time.Duration
	refuses  int // the next requests
	asked    []string
}

func (i *instance) RoundTrip(req *http.Request) (*http.Response, error) {
	i.asked = append(i.asked, req.Method+" "+req.URL.Host+req.URL.Path)
	if i.refuses > 0 {
		i.refuses--
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	hang := i.nobody || i.hops && req.Method == http.MethodPut
	select {
	case <-time.After(i.slow):
		if hang {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	status, body, h := i.answer(req)
	h.Set("Server", "EC2ws")
	if i.page {
		status, body, h = http.StatusOK, "<html>CANARY", http.Header{"Content-Type": {"text/html"}}
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

func (i *instance) answer(req *http.Request) (status int, body string, h http.Header) {
	const roles = "/latest/meta-data/iam/security-credentials/"
	h = http.Header{"Content-Type": {"text/plain"}}
	switch path := req.URL.Path; {
	case i.off:
		return http.StatusForbidden, "", h
	case req.Method == http.MethodPut:
		h.Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		return http.StatusOK, "CANARY", h
	case i.required && req.Header.Get("X-Aws-Ec2-Metadata-Token") == "":
		return http.StatusUnauthorized, "", h
	case path == "/latest/meta-data/":
		return http.StatusOK, "ami-id\niam/\n", h
	case i.norole:
		return http.StatusNotFound, "", h
	case path == roles:
		return http.StatusOK, "role", h
	default:
		data, _ := json.Marshal(map[string]string{"Code": "Success", "AccessKeyId": "AKIACANARY", "SecretAccessKey": "CANARY", "Token": "CANARY",
			"Expiration": time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339)})
		return http.StatusOK, string(data), h
	}
}

// identify gets the credentials of the instance, on a machine of that kind.
func identify(t *testing.T, i *instance, kind string) (aws.Credentials, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(platform.On(t.Context(), platformtest.Machine(t, kind)), 10*time.Second)
	defer cancel()
	setup := awssdk.New("", leaf.HTTP{Transport: i}, func(cfg aws.Config) aws.Config { return cfg })
	what := &awssdk.Attempt{Source: "source", Op: "read"}
	ready, err := setup.Load(ctx)
	if err != nil {
		return aws.Credentials{}, what.Configuration(ctx, err)
	}
	c, err := ready.Identify(ctx)
	if err != nil {
		return aws.Credentials{}, what.Identity(ctx, err)
	}
	// The service's client has the same.
	if same, err := ready.API.Credentials.Retrieve(ctx); err != nil || same.AccessKeyID != c.AccessKeyID {
		t.Errorf("the client of the service gets %q: %v", same.Source, err)
	}
	return c, nil
}

func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range platform.Variables() {
		t.Setenv(name, "")
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_MAX_ATTEMPTS", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_REGION", "eu-west-1")
	none := t.TempDir() + "/none"
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
}

func TestAnInstanceIsWaitedForAsTheSDKWaits(t *testing.T) {
	for name, i := range map[string]*instance{
		"healthy":                     {},
		"a token is required":         {required: true},
		"behind a hop":                {hops: true},
		"answers in 400 ms":           {slow: 400 * time.Millisecond, required: true},
		"refuses once":                {refuses: 1, required: true},
		"refuses once, behind a hop":  {refuses: 1, hops: true},
		"refuses twice in two phases": {refuses: 2},
	} {
		for _, kind := range []string{"ec2", "xen", "silent"} {
			if kind == "silent" && i.refuses > 0 {
				continue // the probe is refused
			}
			clearEnv(t)
			synctest.Test(t, func(t *testing.T) {
				at := *i
				begin := time.Now()
				c, err := identify(t, &at, kind)
				if took := time.Since(begin); err != nil || c.AccessKeyID != "AKIACANARY" || took > 6*time.Second {
					t.Errorf("%s, %s: after %v and %d requests: %v", name, kind, took, len(at.asked), err)
				}
			})
		}
	}
}

func TestAnInstanceThatFailsIsAnErrorThatSaysWhatToDo(t *testing.T) {
	const disable = "AWS_EC2_METADATA_DISABLED=true"
	for name, tc := range map[string]struct {
		instance
		says []string
	}{
		"a hop limit, and a token is required": {instance{hops: true, required: true}, []string{"no session token", "hop limit of 1", "--http-put-response-hop-limit 2"}},
		"nobody answers":                       {instance{nobody: true}, []string{"does not answer", "169.254.169.254", "hop limit", disable}},
		"refuses for long":                     {instance{refuses: 1000}, []string{"does not answer", disable}},
		"answers in 8 s":                       {instance{slow: 8 * time.Second}, []string{"does not answer", disable}},
		"a page of a proxy":                    {instance{page: true}, []string{"is not the metadata service of an instance", "proxy", disable}},
		"turned off":                           {instance{off: true}, []string{"turned off (403)", "--http-endpoint enabled", disable}},
	} {
		clearEnv(t)
		t.Setenv("AWS_REGION", "eu-west-1")
		synctest.Test(t, func(t *testing.T) {
			_, err := identify(t, &tc.instance, "ec2")
			se := (*credential.SourceError)(nil)
			if !errors.As(err, &se) || !se.Transient || errors.Is(err, credential.ErrUnavailable) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s: got %v", name, err)
				return
			}
			for _, want := range tc.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v does not say %q", name, err, want)
				}
			}
		})
	}
}

func TestAnInstanceWithoutARegionSaysSo(t *testing.T) {
	clearEnv(t)
	t.Setenv("AWS_REGION", "")
	_, err := identify(t, &instance{}, "ec2")
	if err == nil || errors.Is(err, credential.ErrUnavailable) || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("got %v", err)
	}
}

// What is known to be elsewhere is not asked, and that is no guess. A region
// says that AWS is meant, and then the next source is none.
func TestAMachineThatIsNoneOfEC2IsNotAsked(t *testing.T) {
	for _, tc := range []struct{ kind, env, says string }{
		{"laptop", "", `sys_vendor is "LENOVO"`},
		{"azure", "", "not looked for on Azure"},
		{"google", "", "not looked for on Google Cloud"},
		{"silent", "AWS_LAMBDA_FUNCTION_NAME", "AWS Lambda"},
		{"ec2", "WEBSITE_SITE_NAME", "Azure App Service"},
		{"silent", "IDENTITY_ENDPOINT", "IDENTITY_ENDPOINT is set"},
		{"silent", "K_SERVICE", "Cloud Run"},
		{"ec2", "AWS_EC2_METADATA_DISABLED", "turns it off"},
	} {
		for _, region := range []string{"eu-west-1", ""} {
			clearEnv(t)
			t.Setenv("AWS_REGION", region)
			if tc.env != "" {
				t.Setenv(tc.env, "true")
			}
			i := &instance{}
			_, err := identify(t, i, tc.kind)
			if len(i.asked) != 0 || err == nil || errors.Is(err, credential.ErrUnavailable) != (region == "") || guess(err) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s, %s, region %q: asked %v, got %v", tc.kind, tc.env, region, i.asked, err)
			}
		}
	}
}

func TestWithoutAnInstanceTheNoIsAGuess(t *testing.T) {
	for name, i := range map[string]*instance{"nobody": {nobody: true}, "refuses": {refuses: 1000}, "a page of a proxy": {page: true}} {
		clearEnv(t)
		t.Setenv("AWS_REGION", "")
		synctest.Test(t, func(t *testing.T) {
			ctx := platform.On(t.Context(), platformtest.Machine(t, "silent"))
			setup := awssdk.New("eu-west-1", leaf.HTTP{Transport: i}, func(cfg aws.Config) aws.Config { return cfg }) // as of an ARN
			ready, err := setup.Load(ctx)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, err = ready.Identify(ctx)
			err = (&awssdk.Attempt{Source: "source", Op: "read"}).Identity(ctx, err)
			if !errors.Is(err, credential.ErrUnavailable) || !guess(err) || len(i.asked) != 1 || time.Since(begin) > time.Second {
				t.Errorf("%s: after %v, asked %v: %v", name, time.Since(begin), i.asked, err)
			}
		})
	}
}

// Somebody who configures the address has a metadata service there.
func TestAnAddressThatIsConfiguredIsAsked(t *testing.T) {
	for _, kind := range []string{"laptop", "silent", "azure"} {
		clearEnv(t)
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338")
		i := &instance{}
		if _, err := identify(t, i, kind); err != nil || !strings.Contains(i.asked[0], "127.0.0.1:1338") {
			t.Errorf("%s: asked %v, got %v", kind, i.asked, err)
		}
	}
}

func TestAnInstanceWithoutARoleIsNoGuess(t *testing.T) {
	clearEnv(t)
	_, err := identify(t, &instance{norole: true}, "ec2")
	if err == nil || guess(err) || !strings.Contains(err.Error(), "no role is attached") {
		t.Errorf("got %v", err)
	}
}

// The SDK asks for a token three times, half a second each, and waits for a
// second at most in between.
func TestAnInstanceBehindAHopCostsNoMoreThanWithTheSDK(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		i := &instance{hops: true}
		piped := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go serve(there, i)
			return here, nil
		}}
		ctx, cancel := context.WithTimeout(platform.On(t.Context(), platformtest.Machine(t, "ec2")), 10*time.Second)
		defer cancel()
		ready, err := awssdk.New("", leaf.HTTP{Transport: piped}, func(cfg aws.Config) aws.Config { return cfg }).Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := ready.Identify(ctx); err != nil || time.Since(begin) > 3500*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// serve answers one request for i, in memory.
func serve(conn net.Conn, i *instance) {
	defer func() { _ = conn.Close() }()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if i.hops && req.Method == http.MethodPut {
		_, _ = conn.Read(make([]byte, 1)) // until the caller leaves
		return
	}
	status, body, h := i.answer(req)
	resp := http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Close: true}
	_ = resp.Write(conn)
}

func guess(err error) bool {
	se := (*credential.SourceError)(nil)
	return errors.As(err, &se) && se.Guess
}
