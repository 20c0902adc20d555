package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

const (
	rate    = 60 // calls a second
	length  = 24 * time.Second
	latency = 30 * time.Millisecond
)

// The places, by index.
const (
	east = iota
	west
	vendor
	places
)

// A place is a service that calls may go to.
type place struct {
	name    string
	url     string // the base URL
	service *clienttest.Service
}

// A stage is the places, and the account of what happened.
type stage struct {
	places  []place
	close   func()
	account *account
}

// newLoopback starts the services on ports of this machine.
func newLoopback() (*stage, error) {
	s := &stage{}
	servers := make([]*clienttest.Server, places)
	s.close = func() {
		for _, srv := range servers {
			if srv != nil {
				srv.Close()
			}
		}
	}
	for i, name := range [places]string{"east", "west", "openai"} {
		servers[i] = clienttest.NewServer("key-of-" + name)
		if err := servers[i].Err; err != nil {
			s.close()
			return nil, err
		}
		s.add(name, servers[i].Origin, servers[i].Service)
	}
	return s, nil
}

// add adds the next place. All but the last imitate Azure OpenAI.
func (s *stage) add(name, origin string, service *clienttest.Service) {
	p := place{name: name, url: origin + "/v1/", service: service}
	if len(s.places) < vendor {
		service.SetFlavor(clienttest.AzureOpenAI)
		p.url = origin + "/openai/v1/"
	}
	service.SetLatency(latency)
	s.places = append(s.places, p)
}

// config is what a program sets for three endpoints.
func (s *stage) config() client.Config {
	key := func(i int) credential.Source {
		return credential.Static(credential.NewSecret("key-of-"+s.places[i].name), credential.APIKey)
	}
	return client.Config{
		Name: "east", BaseURL: s.places[east].url, Source: key(east), KeyHeader: "api-key", Provisioned: true,
		Fallbacks: []client.Endpoint{
			{Name: "west", BaseURL: s.places[west].url, Source: key(west), KeyHeader: "api-key"},
			{Name: "openai", BaseURL: s.places[vendor].url, Source: key(vendor), Models: map[string]string{"chat": "gpt-5-mini"}},
		},
		HoldBack: true,
		OnRoute:  s.account.routed,
		Observe:  s.account.sent,
	}
}

// A fault is what the script does to a place for a while.
type fault struct {
	place      int
	from, till time.Duration
	what       string
	begin, end func(*clienttest.Service)
}

// script is what happens, in the order of its beginnings.
func script() []fault {
	capacity := func(perSecond float64) func(*clienttest.Service) {
		return func(s *clienttest.Service) {
			s.SetCapacity(&clienttest.Capacity{PerSecond: perSecond, Burst: 2})
		}
	}
	unbounded := func(s *clienttest.Service) { s.SetCapacity(nil) }
	inject := func(f clienttest.Fault) func(*clienttest.Service) {
		f.Times = -1
		return func(s *clienttest.Service) { s.Inject(f) }
	}
	early := clienttest.Overloaded.InStream(1)
	early.Path = "/chat/completions"
	return []fault{
		{east, seconds(3), seconds(7), "provisioned throughput of 35 calls a second", capacity(35), unbounded},
		{east, seconds(9), seconds(13), "dead: it resets each connection", inject(clienttest.Fault{Reset: true}), (*clienttest.Service).ClearFaults},
		{west, seconds(11), seconds(15), "throttled to 20 calls a second", capacity(20), unbounded},
		{east, seconds(18), seconds(21), "an error inside each stream, before its content", inject(early), (*clienttest.Service).ClearFaults},
	}
}

// play makes calls while the script runs. transport is nil for the network.
func (s *stage) play(ctx context.Context, transport http.RoundTripper) error {
	cfg := s.config()
	cfg.Transport = transport
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	oai := openai.NewClient(c.Options()...)
	ctx, cancel := context.WithTimeout(ctx, length+latency/2)
	defer cancel()
	s.account.start()
	var load, crew sync.WaitGroup
	crew.Go(func() { s.faults(ctx) })
	crew.Go(func() { s.account.watch(ctx) })
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		kind := kinds[i%len(kinds)]
		load.Go(func() {
			begin := time.Now()
			// A call is let finish when the show is over.
			err := kind(context.WithoutCancel(ctx), oai)
			s.account.called(time.Since(begin), err)
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	load.Wait()
	crew.Wait()
	if s.account.elapsed() < length {
		return context.Canceled
	}
	return nil
}

// faults carries the script out.
func (s *stage) faults(ctx context.Context) {
	type cue struct {
		at    time.Duration
		say   string
		do    func(*clienttest.Service)
		place int
	}
	var cues []cue
	for _, f := range script() {
		name := s.places[f.place].name
		cues = append(cues,
			cue{f.from, name + ": " + f.what, f.begin, f.place},
			cue{f.till, name + ": the fault is over", f.end, f.place})
	}
	slices.SortStableFunc(cues, func(a, b cue) int { return int(a.at - b.at) })
	for _, c := range cues {
		select {
		case <-time.After(c.at - s.account.elapsed()):
		case <-ctx.Done():
			return
		}
		s.account.say("-> %s", c.say)
		c.do(s.places[c.place].service)
	}
}

var kinds = [...]func(context.Context, openai.Client) error{chat, stream, embeddings}

func prompt() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    "chat",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	}
}

func chat(ctx context.Context, oai openai.Client) error {
	answer, err := oai.Chat.Completions.New(ctx, prompt())
	if err == nil && (len(answer.Choices) == 0 || answer.Choices[0].Message.Content == "") {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func stream(ctx context.Context, oai openai.Client) error {
	chunks := oai.Chat.Completions.NewStreaming(ctx, prompt())
	defer chunks.Close()
	for chunks.Next() {
	}
	return chunks.Err()
}

func embeddings(ctx context.Context, oai openai.Client) error {
	answer, err := oai.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: openai.EmbeddingModelTextEmbedding3Small,
		Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("hello")},
	})
	if err == nil && (len(answer.Data) == 0 || len(answer.Data[0].Embedding) == 0) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
