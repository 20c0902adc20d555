module github.com/latchkey-go/latchkey/internal/parity

go 1.26.0

require (
	github.com/latchkey-go/latchkey v0.0.0
	github.com/openai/openai-go/v3 v3.98.0
	golang.org/x/net v0.62.0
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/tidwall/gjson v1.20.2 // indirect
	github.com/tidwall/match v1.2.0 // indirect
	github.com/tidwall/pretty v1.3.0 // indirect
	github.com/tidwall/sjson v1.2.9 // indirect
	golang.org/x/text v0.44.0 // indirect
)

replace github.com/latchkey-go/latchkey => ../..
