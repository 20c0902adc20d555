package interop_test

import "strings"

func row(name string, mediaType []string, body string, want ...string) streamRow {
	return streamRow{name: name, mediaType: mediaType, body: body, want: want}
}

func (r streamRow) with(ends string) streamRow { r.ends = ends; return r }

type streamRow struct {
	name      string
	mediaType []string
	body      string // c and end stand for those of the protocol
	ends      string
	want      []string
}

const (
	c   = "\x01"
	cc  = c + c
	end = "\x02"
)

var (
	stream = []string{"text/event-stream"}
	asJSON = []string{"application/json"}
	plain  = []string{"text/plain; charset=utf-8"}
	page   = []string{"text/html"}
)

const (
	errObject = `{"error":{"message":"overloaded","code":"c"}}`
	document  = `{"id":"x","object":"chat.completion","choices":[{"message":{"content":"hi"}}]}`
	login     = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>x</body></html>\n"
)

func streamRows() []streamRow {
	rows := append(rowsOfErrors(), rowsInPlaceOfStreams()...)
	return append(rows, rowsOfStreams()...)
}

func rowsOfErrors() []streamRow {
	ev := "data: " + errObject + "\n\n"
	return []streamRow{
		row("whole", stream, cc+end,
			"2|2|2"),
		row("error first, then the end", stream, ev+end,
			"0 error c|0 error|0 error"),
		row("error first", stream, ev,
			"0 error c|0 error|0 error"),
		row("error after content, then the end", stream, cc+ev+end,
			"2 error c|2 error|2 error"),
		row("error after content", stream, cc+ev,
			"2 error c|2 error|2 error"),
		row("error after content, then content", stream, c+ev+c+end,
			"1 error c|1 error|1 error"),
		row("error behind the end", stream, c+end+ev,
			"1|1|1", "1|1|1", "1 error c|1 error|1 error", "1 error c|1 error|1 error"),
		row("error, spaced", stream, c+"data:   { \"id\" : 1 , \"error\" :\t{ \"message\" : \"m\", \"code\" : \"c\" } }\n\n"+end,
			"1 error c|1 error|1 error"),
		row("error, split over lines", stream, c+"data: {\"error\":\ndata: {\"message\":\"m\",\ndata: \"code\":\"c\"}}\n\n"+end,
			"1 error c|1 error|1 error"),
		row("error under an odd name", stream, c+"event: whatever\n"+ev+end,
			"1 error c|1 error|1 error"),
		row("error under its own name", stream, c+"event: error\n"+ev+end,
			"1 error c|1 error|1 error"),
		row("error event of another shape", stream, c+"event: error\ndata: {\"type\":\"error\",\"code\":\"c\",\"message\":\"m\"}\n\n",
			"1 error c|2 cut|2", "1 error c|2 cut|2", "1 error c|2|2", "1 error c|2|2"),
		row("error event that is text", stream, c+"event: error\ndata: overloaded\n\n",
			"1 error|1 not JSON|1 not JSON"),
		row("error as a text", stream, c+"data: {\"error\":\"overloaded\",\"code\":\"c\"}\n\n"+end,
			"1 error c|1 error|1 error"),
		row("error: null", stream, cc+"data: {\"error\":null}\n\n"+end,
			"3|2 error|2 error"),
		row("error without the last line", stream, c+strings.TrimSuffix(ev, "\n\n"),
			"1 error c|1 cut|1", "1 error c|1 cut|1", "1 error c|1 cut|1", "1 error c|1|1"),
	}
}

func rowsInPlaceOfStreams() []streamRow {
	return []streamRow{
		row("bare JSON error", asJSON, errObject,
			"0 error c|0 no stream|0"),
		row("bare JSON error", stream, errObject,
			"0 error c|0 no stream|0"),
		row("bare JSON error", plain, errObject,
			"0 error c|0 no stream|0"),
		row("bare JSON error", nil, errObject,
			"0 error c|0 no stream|0"),
		row("bare JSON error, indented", stream, "{\n  \"error\": {\n    \"message\": \"m\",\n    \"code\": \"c\"\n  }\n}\n",
			"0 error c|0 no stream|0"),
		row("bare JSON error behind content", stream, cc+errObject,
			"2 error c|2 cut|2"),
		row("HTML", page, login,
			"0 no stream|0 no stream|0"),
		row("HTML", stream, login,
			"0 no stream|0 no stream|0"),
		row("HTML", nil, login,
			"0 no stream|0 no stream|0"),
		row("empty", stream, "",
			"0 no stream|0 no stream|0"),
		row("empty", nil, "",
			"0 no stream|0 no stream|0"),
		row("empty", page, "",
			"0 no stream|0 no stream|0"),
		row("empty", asJSON, "",
			"0 no stream|0 no stream|0"),
		row("JSON document", asJSON, document,
			"0 no stream|0 no stream|0"),
		row("JSON document", stream, document,
			"0 no stream|0 no stream|0"),
		row("JSON document", plain, document,
			"0 no stream|0 no stream|0"),
		row("text", plain, "upstream connect error",
			"0 no stream|0 no stream|0"),
		row("no media type", nil, cc+end,
			"2|2|2"),
		row("no media type, cut", nil, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
	}
}

func rowsOfStreams() []streamRow {
	return []streamRow{
		row("text/plain", plain, cc+end,
			"2|2|2"),
		row("text/plain, cut", plain, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("doubled media type", []string{"text/event-stream, text/event-stream"}, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("two media types", []string{"application/json", "text/event-stream"}, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("odd parameters", []string{"text/event-stream; charset=\"utf-8; x"}, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("bytes", []string{"application/octet-stream"}, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("JSON's media type", asJSON, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("cut between events", stream, cc,
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("cut in an event", stream, cc+"data: {\"id",
			"2 cut|2 cut|2", "2 cut|2 cut|2", "2 cut|2 cut|2", "2|2|2"),
		row("comments", stream, ": hello\n\n: ping\n"+c+":\n\n"+c+end,
			"2|2|2"),
		row("comments alone", stream, ": ping\n\n: ping\n\n",
			"0 cut|0 cut|0", "0 cut|0 cut|0", "0 cut|0 cut|0", "0|0|0"),
		row("byte order mark", stream, "\xef\xbb\xbf"+cc+end,
			"2|1|1", "2|1|1", "2|2|2", "2|2|2"),
		row("[DONE] with blanks", stream, cc+"data: [DONE] \t\n\n",
			"2|2|2"),
		row("no space", stream, cc+end,
			"2|2|2").with("no space"),
		row("CRLF", stream, cc+end,
			"2|2|2").with("\r\n"),
		row("CR", stream, cc+end,
			"2|0|0").with("\r"),
	}
}

func (r streamRow) text(p protocol) string {
	body := strings.NewReplacer(c, p.chunk, end, p.done).Replace(r.body)
	switch r.ends {
	case "no space":
		return strings.NewReplacer("data: ", "data:", "event: ", "event:").Replace(body)
	case "":
		return body
	}
	return strings.ReplaceAll(body, "\n", r.ends)
}
