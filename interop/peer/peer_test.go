package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"
)

func TestEverySampleComesBackFromEcho(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for _, sample := range samples() {
		sent, err := json.Marshal(sample.Value)
		if err != nil {
			t.Fatal(err)
		}
		byName := a.ask("call", fields{"to": b.named("echo"), "value": fields{"sample": sample.Name}})
		if byName.Error != "" || string(byName.OK) != string(sent) {
			t.Errorf("%s: sent %.200s, got %.200s %s", sample.Name, sent, byName.OK, byName.Error)
		}
		if strings.Contains(string(sent), `"crc32"`) {
			continue // the digest of a value is not a value
		}
		byValue := a.ask("call", fields{"to": b.named("echo"), "value": sample.Value})
		if byValue.Error != "" || string(byValue.OK) != string(sent) {
			t.Errorf("%s as JSON: sent %.200s, got %.200s %s", sample.Name, sent, byValue.OK, byValue.Error)
		}
	}
}

func TestMessagesGoByPidNameAndAlias(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for way, to := range map[string]fields{
		"pid":   {"pid": b.ready.Processes["driver"].PID},
		"name":  b.named("driver"),
		"alias": {"alias": b.ready.Processes["driver"].Alias},
	} {
		a.must("send", fields{"to": to, "value": fields{"type": "string", "value": way}, "priority": "high"}, nil)
		got := b.expect("a message by "+way, func(e event) bool { return e.Event == "message" && e.Via == way })
		if string(got.Value) != `{"type":"string","value":"`+way+`"}` || string(got.From) != string(a.ready.Processes["driver"].PID) {
			t.Errorf("by %s: %s from %s", way, got.Value, got.From)
		}
	}
	a.must("send", fields{"to": fields{"alias": b.ready.Processes["echo"].Alias}, "value": fields{"sample": "pid"}}, nil)
	back := a.expect("the echo", func(e event) bool { return e.Event == "message" && e.To == "driver" })
	if string(back.From) != string(b.ready.Processes["echo"].PID) {
		t.Errorf("the echo came from %s", back.From)
	}
}

func TestRequestsEndInErrors(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for _, c := range []struct {
		name  string
		with  fields
		error string
	}{
		{"a text", fields{"to": b.named("fail"), "value": fields{"type": "string", "value": "no luck today"}}, "no luck today"},
		{"an error with a code", fields{"to": b.named("fail"), "value": fields{"type": "string", "value": "process mailbox is full"}}, "process mailbox is full"},
		{"a registered error", fields{"to": b.named("fail"), "value": fields{"sample": "error_registered"}}, "not allowed"},
		{"no error asked for", fields{"to": b.named("fail"), "value": fields{"sample": "int_zero"}}, "incorrect value or argument"},
		{"nobody answers", fields{"to": b.named("mute"), "value": fields{"sample": "int_zero"}, "timeout": 1}, "timed out"},
		{"nobody is there", fields{"to": b.named("nobody"), "value": fields{"sample": "int_zero"}, "important": true}, "unknown process"},
		{"no route", fields{"to": fields{"name": "echo", "node": "c@localhost"}, "value": fields{"sample": "int_zero"}}, "no route"},
		{"no value", fields{"to": b.named("echo"), "value": fields{"type": "int8", "value": 300}}, "out of range"},
		{"no process to send", fields{"to": b.named("echo"), "value": fields{"sample": "int_zero"}, "as": "x"}, `no process is called "x"`},
	} {
		if answer := a.ask("call", c.with); !strings.Contains(answer.Error, c.error) || answer.Error == "" {
			t.Errorf("%s: got %s %q", c.name, answer.OK, answer.Error)
		}
	}
	if answer := a.ask("dance", nil); !strings.Contains(answer.Error, "no such command") {
		t.Errorf("an unknown command: %+v", answer)
	}
	b.expect("the unanswered request", func(e event) bool { return e.Event == "request" && e.To == "mute" })
}

func TestWrongCookieIsNoRoute(t *testing.T) {
	t.Parallel()
	b := startPeer(t, "b@localhost")
	a := startPeer(t, "a@localhost", "-acceptor=false")
	a.route(b, fields{"cookie": "guess"})
	if answer := a.ask("connect", fields{"node": "b@localhost"}); answer.Error != "no route" {
		t.Errorf("got %s %q", answer.OK, answer.Error)
	}
	a.must("remove_route", fields{"pattern": "^b@localhost$"}, nil)
	a.route(b, fields{"cookie": "secret"})
	a.must("connect", fields{"node": "b@localhost"}, nil)
}

func TestLargePayloadsArriveWhole(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for _, size := range []int{1 << 20, 64 << 20} {
		var echoed struct {
			Value struct {
				Len   int
				CRC32 string
			}
		}
		a.must("call", fields{"to": b.named("echo"), "value": fields{"payload": size, "seed": 7}, "timeout": 50}, &echoed)
		if want := fmt.Sprintf("%08x", crc32.ChecksumIEEE(payload(size, 7))); echoed.Value.Len != size || echoed.Value.CRC32 != want {
			t.Errorf("%d bytes: got %+v, want crc %s", size, echoed.Value, want)
		}
	}
}

func TestMessagesOverTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	a, b := pair(t, "-max-message-size", "65536")
	a.must("call", fields{"to": b.named("echo"), "value": fields{"payload": 60000}}, nil)
	if answer := a.ask("send", fields{"to": b.named("echo"), "value": fields{"payload": 70000}}); answer.Error != "too large" {
		t.Errorf("got %s %q", answer.OK, answer.Error)
	}
}

func TestCompressionMakesTheWireShorter(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.must("connect", fields{"node": "b@localhost"}, nil)
	zeros := fields{"type": "binary", "value": fields{"repeat": "00", "count": 100000}}
	want := `{"type":"binary","value":` + string(mustJSON(t, body(make([]byte, 100000)))) + `}`
	for _, kind := range []string{"gzip", "zlib", "lzw"} {
		a.must("compress", fields{"type": kind, "level": "size", "threshold": 2048}, nil)
		b.must("compress", fields{"process": "echo", "type": kind, "level": "speed"}, nil)
		before := a.info(b)
		answer := a.ask("call", fields{"to": b.named("echo"), "value": zeros})
		if string(answer.OK) != want {
			t.Errorf("%s: got %s %s", kind, answer.OK, answer.Error)
		}
		after := a.info(b)
		if out, in := after.BytesOut-before.BytesOut, after.BytesIn-before.BytesIn; out > 5000 || in > 5000 {
			t.Errorf("%s: %d bytes out, %d in", kind, out, in)
		}
	}
	a.must("compress", fields{"type": "off"}, nil)
	before := a.info(b)
	a.must("send", fields{"to": b.named("mute"), "value": zeros}, nil)
	if out := a.info(b).BytesOut - before.BytesOut; out < 100000 {
		t.Errorf("off: %d bytes", out)
	}
	if answer := a.ask("compress", fields{"type": "rar"}); answer.Error == "" {
		t.Error("an unknown type was accepted")
	}
}

func TestManySendersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.connectFully(b)
	var sent struct {
		Sent    int
		Senders []json.RawMessage
	}
	a.must("send_many", fields{"to": b.named("recorder"), "count": 5000, "senders": 4, "start": 10}, &sent)
	if sent.Sent != 20000 || len(sent.Senders) != 4 {
		t.Fatalf("sent %d by %d", sent.Sent, len(sent.Senders))
	}
	var report struct {
		Total   int
		Senders []record
	}
	b.must("recorder_wait", fields{"count": 20000, "timeout_ms": 30000}, &report)
	for _, seen := range report.Senders {
		if seen.Count != 5000 || seen.First != 10 || seen.Last != 5009 || seen.Gaps != 0 || seen.Backwards != 0 {
			t.Errorf("%+v", seen)
		}
	}
	if len(report.Senders) != 4 {
		t.Errorf("%d senders were seen", len(report.Senders))
	}
	b.must("recorder_reset", nil, nil)
	if answer := b.ask("recorder_wait", fields{"count": 1, "timeout_ms": 1}); answer.Error != "timed out" {
		t.Errorf("got %s %q", answer.OK, answer.Error)
	}
}

func TestRecorderSeesDisorder(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.connectFully(b)
	for _, number := range []string{"0", "1", "5", "4", "5", "6"} {
		a.must("send", fields{"to": b.named("recorder"), "value": fields{"type": "int", "value": number}}, nil)
	}
	var report struct{ Senders []record }
	b.must("recorder_wait", fields{"count": 6, "timeout_ms": 30000}, &report)
	if seen := report.Senders[0]; seen.Gaps != 1 || seen.Backwards != 2 || seen.First != 0 || seen.Last != 6 {
		t.Errorf("%+v", seen)
	}
}

func TestKilledLinkIsDialedAgain(t *testing.T) {
	t.Parallel()
	a, b := pair(t, "-pool", "2")
	a.must("connect", fields{"node": "b@localhost"}, nil)
	a.untilLinks(b, 2)
	a.must("kill_link", fields{"node": "b@localhost", "link": 1}, nil)
	a.untilLinks(b, 2)
	if answer := a.ask("kill_link", fields{"node": "b@localhost", "link": 2}); !strings.Contains(answer.Error, "no link 2") {
		t.Errorf("got %s %q", answer.OK, answer.Error)
	}
	a.must("disconnect", fields{"node": "b@localhost"}, nil)
}

func TestDiscoveryThroughTheRegistrar(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	b := startPeer(t, "b@localhost", "-registrar-port", port)
	a := startPeer(t, "a@localhost", "-registrar-port", port, "-registrar-server=false")
	var routes []struct {
		Port uint16
		TLS  bool
	}
	a.must("resolve", fields{"name": "b@localhost"}, &routes)
	if len(routes) != 1 || routes[0].Port != b.ready.Port || routes[0].TLS {
		t.Errorf("resolved %+v, b listens on %d", routes, b.ready.Port)
	}
	if answer := a.ask("resolve", fields{"name": "nobody@localhost"}); answer.Error == "" {
		t.Errorf("nobody is at %s", answer.OK)
	}
	b.must("call", fields{"to": a.named("echo"), "value": fields{"sample": "int_max"}}, nil)
	if links := b.info(a).Links; links < 1 {
		t.Errorf("%d links are tracked on a discovered connection", links)
	}
}

func TestRestartedNodeIsFoundAgain(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.must("connect", fields{"node": "b@localhost"}, nil)
	a.must("monitor", fields{"node": "b@localhost"}, nil)
	b.must("stop", nil, nil)
	<-b.ended
	a.expect("the node going down", func(e event) bool { return e.Event == "down" && string(e.Target) == `{"node":"b@localhost"}` })
	again := startPeer(t, "b@localhost", "-port", fmt.Sprint(b.ready.Port))
	a.must("call", fields{"to": again.named("echo"), "value": fields{"sample": "bool_true"}}, nil)
}

func TestMonitorsAndLinksByName(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for _, kind := range []string{"monitor", "link"} {
		b.must("spawn", fields{"kind": "mute", "name": kind + "ed"}, nil)
		a.must(kind, fields{"to": b.named(kind + "ed")}, nil)
		b.must("exit", fields{"process": kind + "ed", "reason": "shutdown"}, nil)
		want := map[string]string{"monitor": "down", "link": "exit"}[kind]
		got := a.expect(want, func(e event) bool { return e.Event == want })
		if got.Reason != "shutdown" || got.To != "driver" || !strings.Contains(string(got.Target), kind+"ed") {
			t.Errorf("%s: %+v", kind, got)
		}
	}
	b.must("spawn", fields{"kind": "echo", "name": "kept"}, nil)
	a.must("monitor", fields{"to": b.named("kept")}, nil)
	a.must("demonitor", fields{"to": b.named("kept")}, nil)
	a.must("link", fields{"to": b.named("kept")}, nil)
	a.must("unlink", fields{"to": b.named("kept")}, nil)
	if answer := a.ask("monitor", fields{"to": b.named("nobody")}); answer.Error != "unknown process" {
		t.Errorf("got %s %q", answer.OK, answer.Error)
	}
}

func TestExitSignalCrosses(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.must("send_exit", fields{"to": fields{"pid": b.ready.Processes["driver"].PID}, "reason": "kill"}, nil)
	got := b.expect("the exit", func(e event) bool { return e.Event == "exit" })
	if got.To != "driver" || got.Reason != "kill" {
		t.Errorf("%+v", got)
	}
}

func TestNoFlagsMeansNoFeatures(t *testing.T) {
	t.Parallel()
	a, b := pair(t, "-flags", "none")
	a.must("call", fields{"to": b.named("echo"), "value": fields{"sample": "int_zero"}}, nil)
	answer := a.ask("call", fields{"to": b.named("echo"), "value": fields{"sample": "int_zero"}, "important": true})
	if answer.Error != "not supported" {
		t.Errorf("got %s %q", answer.OK, answer.Error)
	}
	a.must("network_order", fields{"keep": false}, nil)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	b := startPeer(t, "b@localhost", "-tls")
	a := startPeer(t, "a@localhost", "-acceptor=false")
	a.route(b, fields{"tls": true})
	a.must("call", fields{"to": b.named("echo"), "value": fields{"sample": "struct_full"}}, nil)
	var nodes []string
	a.must("nodes", nil, &nodes)
	if len(nodes) != 1 || nodes[0] != "b@localhost" {
		t.Errorf("connected to %v", nodes)
	}
}

func TestLinesThatAreNoCommands(t *testing.T) {
	t.Parallel()
	a := startPeer(t, "a@localhost", "-acceptor=false")
	for _, line := range []string{"hello", `{"cmd":"nodes"}`} {
		fmt.Fprintln(a.in, line)
		a.expect("an error", func(e event) bool { return e.Event == "error" })
	}
	if answer := a.ask("nodes", fields{"colour": "red"}); !strings.Contains(answer.Error, "colour") {
		t.Errorf("got %s %q", answer.OK, answer.Error)
	}
}

type remoteInfo struct {
	Links    int `json:"links"`
	BytesOut int `json:"bytes_out"`
	BytesIn  int `json:"bytes_in"`
}

func (r *remote) info(of *remote) (info remoteInfo) {
	r.t.Helper()
	r.must("node_info", fields{"node": of.ready.Name}, &info)
	return info
}

// connectFully connects and waits for all links: while a pool fills, Ergo moves
// senders from link to link, and their messages overtake each other.
func (r *remote) connectFully(with *remote) {
	r.t.Helper()
	r.must("connect", fields{"node": with.ready.Name}, nil)
	r.untilLinks(with, 3)
}

// untilLinks asks again and again: Ergo tells nobody when a link has joined.
func (r *remote) untilLinks(with *remote, count int) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		links := r.info(with).Links
		if links == count {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d links with %s, not %d", links, with.ready.Name, count)
		}
	}
}

func mustJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
