module github.com/latchkey-go/latchkey/internal/interop

go 1.26.0

replace github.com/latchkey-go/latchkey => ../..
