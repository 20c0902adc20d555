package clienttest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Capacity is what a deployment can serve, as provisioned throughput is. A call
// above it is answered with 429, Retry-After and retry-after-ms, which say when
// there is room again, or by another deployment.
type Capacity struct {
	// PerSecond is how many calls are served in a second, evenly: a call needs
	// 1/PerSecond seconds of the deployment. Zero and below serve none.
	PerSecond float64
	// Burst is how many calls are served at once after a rest; below 1 is 1.
	Burst int
	// Deployment is the name of the deployment, which each answer carries in
	// x-ms-deployment-name. Empty is "provisioned".
	Deployment string
	// Spillover is the deployment that serves the calls above the capacity, as
	// the property spilloverDeploymentName of Azure says. The answers then carry its
	// name in x-ms-deployment-name, Deployment in x-ms-spillover-from-deployment,
	// and 429 in x-ms-spillover-error. Empty is none, unless the request names one
	// in x-ms-spillover-deployment.
	Spillover string
}

// A throughput is a Capacity that is in use.
type throughput struct {
	Capacity

	mu   sync.Mutex
	free time.Time // when the deployment has served all that it has admitted
}

// SetCapacity bounds what the service serves from now on; nil is no bound. It is
// checked after the key, for all routes but a root.
func (s *Service) SetCapacity(c *Capacity) {
	if c == nil {
		s.capacity.Store(nil)
		return
	}
	t := &throughput{Capacity: *c}
	t.Burst = max(t.Burst, 1)
	if t.Deployment == "" {
		t.Deployment = "provisioned"
	}
	s.capacity.Store(t)
}

// SetLatency makes d pass before each answer, as in a region that is slow, until
// it is set again. It adds to the Delay of a [Fault], and ends with the request's
// context.
func (s *Service) SetLatency(d time.Duration) { s.latency.Store(int64(d)) }

// admit takes a call in, or returns how long there is no room for it.
func (t *throughput) admit(now time.Time) time.Duration {
	if t.PerSecond <= 0 {
		return time.Second
	}
	each := time.Duration(float64(time.Second) / t.PerSecond)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free.Before(now) {
		t.free = now
	}
	if wait := t.free.Sub(now) - time.Duration(t.Burst-1)*each; wait > 0 {
		return wait
	}
	t.free = t.free.Add(each)
	return 0
}

// hasRoom lets the call through to a deployment, or answers 429.
func (c *call) hasRoom() bool {
	t := c.capacity.Load()
	if t == nil {
		return true
	}
	wait := t.admit(time.Now())
	h := c.w.Header()
	if wait == 0 {
		h.Set("X-Ms-Deployment-Name", t.Deployment)
		return true
	}
	spill := t.Spillover
	if spill == "" {
		spill = c.r.Header.Get("X-Ms-Spillover-Deployment")
	}
	if spill != "" {
		h.Set("X-Ms-Deployment-Name", spill)
		h.Set("X-Ms-Spillover-From-Deployment", t.Deployment)
		h.Set("X-Ms-Spillover-Error", strconv.Itoa(http.StatusTooManyRequests))
		return true
	}
	h.Set("X-Ms-Deployment-Name", t.Deployment)
	h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	h.Set("Retry-After-Ms", strconv.FormatInt(int64((wait+time.Millisecond-1)/time.Millisecond), 10))
	c.refused.Add(1)
	c.json(http.StatusTooManyRequests, []byte(`{"error":{"code":"429","message":"The deployment has no room for this call. Try again after the time that retry-after-ms names."}}`))
	return false
}
