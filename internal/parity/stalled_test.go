package parity_test

import (
	"context"
	"fmt"
	"time"
)

const whyPeek = "the body of a refusal is waited for, for a moment: it says what was refused"

// stalledRefusalRows are refusals whose body does not come to its end.
func stalledRefusalRows() (rows []row) {
	for _, status := range []int{401, 429, 503} {
		for _, last := range []int{1, 0} {
			for _, p := range []protocol{http1, http2Plain} {
				r := row{
					class:    fmt.Sprintf("A %d whose body stalls%s", status, map[int]string{1: ", once", 0: ", always"}[last]),
					protocol: p,
					server:   stalling(last, status, "application/json", bodies[0].text),
				}
				whole := r
				whole.class, whole.name, whole.calls = r.class+", openai-go", "the SDK reads it", once(impatientChat)
				if last == 1 {
					whole.but = except(whyPeek, inWait).maybe()
					whole.must = within(4 * time.Second)
				}
				headOnly := r
				headOnly.class, headOnly.name, headOnly.calls = r.class+", net/http", "the body is not read", once(headOnlyPost)
				headOnly.but, headOnly.must = stalledException(status, last), within(6*time.Second)
				rows = append(rows, whole, headOnly)
			}
		}
	}
	return rows
}

// stalledException is for calls that are done when the header has come.
func stalledException(status, last int) *exception {
	switch {
	case last > 0:
		return nil
	case status == 401:
		return except(why401+"; "+whyPeek, inSends, inWait).maybe()
	}
	return except(whyRetries, inSends, inWait)
}

// within says whether latchkey took longer than that.
func within(most time.Duration) func(outcome) string {
	return func(o outcome) string {
		if o.wait > most {
			return fmt.Sprintf("takes %v, more than %v", o.wait, most)
		}
		return ""
	}
}

func impatientChat(ctx context.Context, s *side) result {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return chat(ctx, s)
}

// headOnlyPost does not read the answer's body.
func headOnlyPost(ctx context.Context, s *side) result {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := s.post(ctx, "{}")
	if err != nil {
		return result{err: err}
	}
	resp, err := s.bare.Do(req)
	if err != nil {
		return result{err: err}
	}
	_ = resp.Body.Close()
	return result{status: resp.StatusCode}
}
