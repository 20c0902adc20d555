package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

const (
	callers = 50
	gap     = 2 * time.Second // between the old key's end and the new one's publication
)

// A stage is the service, the store, and the account of what happened.
type stage struct {
	service *clienttest.Server
	store   string // the file that holds the key
	account *account
}

func rotateUnderLoad(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "quickstart")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &stage{
		service: clienttest.NewServer("sk-demo-1"),
		store:   filepath.Join(dir, "openai-key"),
		account: newAccount(os.Stdout),
	}
	defer s.service.Close()
	if err := s.publish("sk-demo-1"); err != nil {
		return err
	}
	file := credential.File(s.store)
	c, err := client.New(client.Config{
		BaseURL: s.service.URL,
		Source: credential.SourceFunc(func(ctx context.Context) (credential.Value, error) {
			s.account.read()
			return file.Retrieve(ctx)
		}),
		Cache:   &credential.CacheOptions{OnEvent: s.account.event},
		Observe: s.account.sent,
	})
	if err != nil {
		return err
	}
	oai := openai.NewClient(c.Options()...)

	s.account.say("%d goroutines call %s: chat, streams and embeddings", callers, s.service.URL)
	ctx, cancel := context.WithCancel(ctx)
	var load sync.WaitGroup
	for n := range callers {
		load.Go(func() { s.call(ctx, oai, n) })
	}
	err = s.rotations(ctx)
	cancel()
	load.Wait()
	s.account.table()
	if err == nil {
		err = s.account.verdict()
	}
	return err
}

// rotations is the script.
func (s *stage) rotations(ctx context.Context) error {
	steps := []struct {
		what string
		do   func() error
	}{
		{"hard rotation: the old key is dead at once", func() error { return s.hard("sk-demo-2") }},
		{"overlap: for a second both keys are good", func() error { return s.overlap(ctx, "sk-demo-2", "sk-demo-3") }},
		{fmt.Sprintf("gap: the old key is dead, and for %v the store does not have the new one", gap), func() error { return s.gap(ctx, "sk-demo-4") }},
		{"hard rotation once more", func() error { return s.hard("sk-demo-5") }},
	}
	for _, step := range steps {
		if err := s.watch(ctx, 2*time.Second); err != nil {
			return err
		}
		s.account.say("-> %s", step.what)
		if err := step.do(); err != nil {
			return err
		}
	}
	return s.watch(ctx, 2*time.Second)
}

func (s *stage) hard(key string) error {
	err := s.publish(key)
	s.service.Rotate(key)
	return err
}

func (s *stage) overlap(ctx context.Context, old, key string) error {
	s.service.Accept(key)
	if err := s.publish(key); err != nil {
		return err
	}
	err := s.watch(ctx, time.Second)
	s.service.Revoke(old)
	s.account.say("   the old key is revoked")
	return err
}

func (s *stage) gap(ctx context.Context, key string) error {
	s.service.Rotate(key)
	err := s.watch(ctx, gap)
	s.account.say("   the store has the new key now")
	if e := s.publish(key); e != nil {
		return e
	}
	return err
}

// publish replaces the file in one step, as a kubelet or an agent does.
func (s *stage) publish(key string) error {
	next := s.store + ".next"
	if err := os.WriteFile(next, []byte(key+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.store)
}

// watch reports once a second for as long as d.
func (s *stage) watch(ctx context.Context, d time.Duration) error {
	for range d / time.Second {
		select {
		case <-time.After(time.Second):
			s.account.status()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// call makes one call after another. Each call is let finish when the show is
// over.
func (s *stage) call(ctx context.Context, oai openai.Client, n int) {
	kinds := []func(context.Context, openai.Client) error{chat, stream, embeddings}
	for i := n; ctx.Err() == nil; i++ {
		begin := time.Now()
		err := kinds[i%len(kinds)](context.WithoutCancel(ctx), oai)
		s.account.called(time.Since(begin), err)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func prompt() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    openai.ChatModelGPT6Luna,
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
