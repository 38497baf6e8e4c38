package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of these tests. It is never waited out when they pass.
const patience = 60 * time.Second

// TestMain lets the test binary be the peer it tests.
func TestMain(m *testing.M) {
	if os.Getenv("BE_ERGO_PEER") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A remote is a peer in a process of its own. If OTHER_ERGO_PEER names an
// ergo-peer built with another release, b@localhost is one of those.
type remote struct {
	t     *testing.T
	in    io.WriteCloser
	ended chan struct{}

	ready ready

	mutex   sync.Mutex
	arrived *sync.Cond
	replies map[int]reply
	events  []event
	lastID  int
	closed  bool
}

type ready struct {
	Name      string               `json:"name"`
	Port      uint16               `json:"port"`
	Processes map[string]addresses `json:"processes"`
}

type addresses struct {
	PID   json.RawMessage `json:"pid"`
	Alias json.RawMessage `json:"alias"`
}

type reply struct {
	OK    json.RawMessage `json:"ok"`
	Error string          `json:"error"`
}

type event struct {
	Event  string          `json:"event"`
	To     string          `json:"to"`
	Via    string          `json:"via"`
	From   json.RawMessage `json:"from"`
	Value  json.RawMessage `json:"value"`
	Target json.RawMessage `json:"target"`
	Reason string          `json:"reason"`
	Error  string          `json:"error"`
}

func startPeer(t *testing.T, name string, flags ...string) *remote {
	t.Helper()
	path := os.Args[0]
	if other := os.Getenv("OTHER_ERGO_PEER"); other != "" && name == "b@localhost" {
		path = other
	}
	program := exec.Command(path, append([]string{"-name", name, "-cookie", "secret", "-log", "disabled"}, flags...)...)
	program.Env = append(os.Environ(), "BE_ERGO_PEER=1")
	program.Stderr = os.Stderr
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	r := &remote{t: t, in: in, replies: make(map[int]reply), ended: make(chan struct{})}
	r.arrived = sync.NewCond(&r.mutex)
	lines := bufio.NewReader(out)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s did not start: %v", name, err)
	}
	if err := json.Unmarshal(first, &r.ready); err != nil || r.ready.Name != name {
		t.Fatalf("%s said %s", name, first)
	}
	go func() {
		r.read(lines)
		program.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *remote) read(lines *bufio.Reader) {
	for {
		line, err := lines.ReadBytes('\n')
		r.mutex.Lock()
		if err != nil {
			r.closed = true
			r.arrived.Broadcast()
			r.mutex.Unlock()
			return
		}
		var kind struct {
			ID    *int
			Event string
		}
		if err := json.Unmarshal(line, &kind); err != nil {
			r.t.Errorf("%s wrote %s", r.ready.Name, line)
		}
		if kind.ID != nil {
			var answer reply
			json.Unmarshal(line, &answer)
			r.replies[*kind.ID] = answer
		} else {
			var happened event
			json.Unmarshal(line, &happened)
			r.events = append(r.events, happened)
		}
		r.arrived.Broadcast()
		r.mutex.Unlock()
	}
}

func (r *remote) stop() {
	r.in.Close()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Errorf("%s did not end", r.ready.Name)
	}
}

// ask sends a command and returns its reply.
func (r *remote) ask(cmd string, with fields) reply {
	r.t.Helper()
	r.mutex.Lock()
	r.lastID++
	id := r.lastID
	r.mutex.Unlock()
	line := fields{"id": id, "cmd": cmd}
	for name, value := range with {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.in.Write(append(text, '\n')); err != nil {
		r.t.Fatalf("%s: %v", r.ready.Name, err)
	}
	var answer reply
	r.await(fmt.Sprintf("the reply to %s", text), func() (done bool) {
		answer, done = r.replies[id]
		return done
	})
	return answer
}

// must is ask for a command that has to succeed; it decodes the result into ok.
func (r *remote) must(cmd string, with fields, ok any) {
	r.t.Helper()
	answer := r.ask(cmd, with)
	if answer.Error != "" {
		r.t.Fatalf("%s on %s: %s", cmd, r.ready.Name, answer.Error)
	}
	if ok != nil {
		if err := json.Unmarshal(answer.OK, ok); err != nil {
			r.t.Fatalf("%s on %s gave %.200s: %v", cmd, r.ready.Name, answer.OK, err)
		}
	}
}

// expect takes the first event that matches.
func (r *remote) expect(what string, matches func(event) bool) event {
	r.t.Helper()
	var found event
	r.await(what, func() bool {
		for i, happened := range r.events {
			if matches(happened) {
				found = happened
				r.events = append(r.events[:i:i], r.events[i+1:]...)
				return true
			}
		}
		return false
	})
	return found
}

func (r *remote) await(what string, done func() bool) {
	r.t.Helper()
	expired := false
	timer := time.AfterFunc(patience, func() {
		r.mutex.Lock()
		expired = true
		r.arrived.Broadcast()
		r.mutex.Unlock()
	})
	defer timer.Stop()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for !done() {
		if r.closed || expired {
			r.t.Fatalf("%s: waited for %s in vain; events: %+v", r.ready.Name, what, r.events)
		}
		r.arrived.Wait()
	}
}

// route makes r reach the other by a static route.
func (r *remote) route(to *remote, with fields) {
	r.t.Helper()
	command := fields{"pattern": "^" + to.ready.Name + "$", "host": "127.0.0.1", "port": to.ready.Port, "weight": 100}
	for name, value := range with {
		command[name] = value
	}
	r.must("add_route", command, nil)
}

func (r *remote) named(process string) fields {
	return fields{"name": process, "node": r.ready.Name}
}

// pair is a@localhost, which only dials, and b@localhost.
func pair(t *testing.T, flags ...string) (a, b *remote) {
	t.Helper()
	b = startPeer(t, "b@localhost", flags...)
	a = startPeer(t, "a@localhost", "-acceptor=false")
	a.route(b, nil)
	return a, b
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}
