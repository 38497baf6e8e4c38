package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"ergo.services/ergo"
	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"
	"ergo.services/ergo/net/edf"

	"example.org/postroad/interop/ergonode"
	"example.org/postroad/interop/types"
)

const cookie = "vector-cookie"

// A script is what A does in a session with B.
type script struct {
	name        string
	description string
	pool        int
	cookie      string // of A, if it is not B's
	run         func(*session) error
}

func scripts() []script {
	return []script{
		{"hs_pool3", "full handshake, a pool of three links, the third cut and joined again, disconnect", 3, "", (*session).pool},
		{"hs_wrong_cookie", "the dialer has another cookie", 1, "another", (*session).wrongCookie},
		{"send", "messages by PID, name, cached name and alias; priorities, no order, important", 1, "", (*session).sends},
		{"call", "requests by PID, name and alias; answers, every kind of error response, a timeout", 1, "", (*session).calls},
		{"compression", "packed messages of each type and level", 1, "", (*session).compression},
		{"monitor", "a monitor by name, its end, an unknown name", 1, "", (*session).monitors},
	}
}

// A session is a script under way.
type session struct {
	tap   *tap
	node  *ergonode.Node
	actor gen.PID
	other other
	steps []step
	did   []result
}

type step struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

type result struct {
	Step   string `json:"step"`
	What   string `json:"what"`
	Result string `json:"result"`
}

// record plays all scripts and writes their files. It leaves Ergo's tables as
// node A has them, which the EDF lines then use.
func record(folder, release string) error {
	// Only A knows these names beforehand, so that the sides' ids differ.
	for _, atom := range []gen.Atom{"cached_echo", "a@localhost"} {
		if err := edf.RegisterAtom(atom); err != nil {
			return err
		}
	}
	for _, script := range scripts() {
		recorded, err := play(script)
		if err != nil {
			return fmt.Errorf("%s: %w", script.name, err)
		}
		path := filepath.Join(folder, "session_"+script.name+"_"+release+".json")
		if err := writeSession(path, recorded); err != nil {
			return err
		}
	}
	return nil
}

func play(script script) (map[string]any, error) {
	s := &session{tap: newTap()}
	own := cookie
	if script.cookie != "" {
		own = script.cookie
	}
	program, b, err := startOther(script.pool)
	if err != nil {
		return nil, err
	}
	defer func() {
		program.Process.Kill()
		program.Wait()
	}()
	s.other = b
	s.node, err = ergonode.Start(ergonode.Options{
		Name: "a@localhost", Cookie: own, Hidden: true, LogLevel: gen.LogLevelDisabled,
		WrapHandshake: func(inner gen.NetworkHandshake) gen.NetworkHandshake { return tappedHandshake{inner, s.tap} },
		WrapConn:      func(_ gen.Atom, _ string, conn net.Conn) net.Conn { return s.tap.link(conn) },
	})
	if err != nil {
		return nil, err
	}
	defer s.node.StopForce()
	route := gen.NetworkRoute{Route: gen.Route{Host: "127.0.0.1", Port: b.Port}}
	if err := s.node.AddRoute("^b@localhost$", route, 100); err != nil {
		return nil, err
	}
	if s.actor, err = s.node.Spawn(func() gen.ProcessBehavior { return &actor{} }, gen.ProcessOptions{}); err != nil {
		return nil, err
	}
	if err := script.run(s); err != nil {
		return nil, err
	}

	s.tap.mutex.Lock()
	defer s.tap.mutex.Unlock()
	version := ergo.FrameworkVersion
	return map[string]any{
		"session": script.name, "description": script.description,
		"ergo": version.Name + " " + version.Release, "cookie": cookie,
		"nodes": map[string]any{
			"A": map[string]any{"name": "a@localhost", "creation": s.node.Creation(), "cookie": own, "pid": s.actor.ID},
			"B": map[string]any{"name": "b@localhost", "creation": b.Creation, "cookie": cookie, "pids": b.PIDs, "aliases": b.Aliases},
		},
		"connections": s.tap.opened, "steps": s.steps, "results": s.did, "frames": s.tap.frames,
	}, nil
}

// writeSession keeps each frame on a line of its own.
func writeSession(path string, recorded map[string]any) error {
	frames := recorded["frames"].([]frame)
	recorded["frames"] = []frame{}
	head, err := json.MarshalIndent(recorded, "", " ")
	if err != nil {
		return err
	}
	lines := make([]string, len(frames))
	for i, frame := range frames {
		line, err := json.Marshal(frame)
		if err != nil {
			return err
		}
		lines[i] = "  " + string(line)
	}
	whole := strings.Replace(string(head), `"frames": []`, "\"frames\": [\n"+strings.Join(lines, ",\n")+"\n ]", 1)
	return os.WriteFile(path, []byte(whole+"\n"), 0o644)
}

// do is one step: something A's process does, and how many frames that makes.
func (s *session) do(id, text string, frames int, what string, doing func(*actor) (any, error)) error {
	s.steps = append(s.steps, step{id, text})
	s.tap.begin(id)
	type outcome struct {
		value any
		err   error
	}
	done := make(chan outcome, 1)
	err := s.node.Send(s.actor, work(func(a *actor) {
		value, err := doing(a)
		done <- outcome{value, err}
	}))
	if err != nil {
		return err
	}
	got := <-done
	s.did = append(s.did, result{id, what, describe(got.value, got.err)})
	return s.tap.await(frames)
}

func describe(value any, err error) string {
	switch {
	case err != nil:
		return "error: " + err.Error()
	case value == nil:
		return "ok"
	}
	return fmt.Sprintf("ok: %v", value)
}

func (s *session) connect(frames int) error {
	return s.do("handshake", "A dials B", frames, "connect", func(a *actor) (any, error) {
		_, err := a.Node().Network().GetNode("b@localhost")
		return nil, err
	})
}

func (s *session) send(id, text string, frames int, doing func(*actor) error) error {
	return s.do(id, text, frames, "send", func(a *actor) (any, error) { return nil, doing(a) })
}

func (s *session) pool() error {
	const handshake, join = 6, 2
	sink := gen.ProcessID{Name: "sink", Node: "b@localhost"}
	return errors.Join(
		s.connect(handshake+2*join),
		s.send("spread", "three sends without order take the links in turn", 3, func(a *actor) error {
			return errors.Join(a.SetKeepNetworkOrder(false), a.Send(sink, 1), a.Send(sink, 2), a.Send(sink, 3))
		}),
		s.do("cut", "the third link is reset; A dials again and joins", 1+join, "reset", func(a *actor) (any, error) {
			return s.node.Links.Kill("b@localhost", 2)
		}),
		s.do("disconnect", "A closes the connection; nothing is sent", 3, "disconnect", func(a *actor) (any, error) {
			remote, err := a.Node().Network().Node("b@localhost")
			if err == nil {
				remote.Disconnect()
			}
			return nil, err
		}),
	)
}

// The handshake ends with A's Hello and the close.
func (s *session) wrongCookie() error { return s.connect(2) }

func (s *session) sends() error {
	sink, echo := s.other.pid("sink"), s.other.pid("echo")
	unknown := sink
	unknown.ID = 999999
	return errors.Join(
		s.connect(6),
		s.send("pid", "by PID", 1, func(a *actor) error { return a.Send(sink, "by pid") }),
		s.send("pid_struct", "a registered struct, with A's own type id", 1, func(a *actor) error { return a.Send(sink, types.Point{X: 1, Y: -2}) }),
		s.send("pid_unknown", "to an unknown PID: no reaction", 1, func(a *actor) error { return a.Send(unknown, "lost") }),
		s.send("name", "by name", 1, func(a *actor) error { return a.Send(named("sink"), int8(1)) }),
		s.send("name_cached", "by a name in A's atom cache; B sends the message back", 2, func(a *actor) error { return a.Send(named("cached_echo"), int8(2)) }),
		s.send("alias", "by alias", 1, func(a *actor) error { return a.Send(s.other.alias("sink"), true) }),
		s.send("high", "priority high", 1, func(a *actor) error { return a.SendWithPriority(sink, "hi", gen.MessagePriorityHigh) }),
		s.send("max", "priority max", 1, func(a *actor) error { return a.SendWithPriority(sink, "max", gen.MessagePriorityMax) }),
		s.send("important", "important: B acknowledges", 2, func(a *actor) error { return a.SendImportant(sink, "sure") }),
		s.send("important_unknown", "important, to an unknown PID", 2, func(a *actor) error { return a.SendImportant(unknown, "sure") }),
		s.send("back_struct", "B sends a struct back, with its own type id", 2, func(a *actor) error { return a.Send(echo, types.Shape{Name: "s", Extra: gen.Atom("a@localhost")}) }),
		s.send("no_order", "without network order", 1, func(a *actor) error {
			return errors.Join(a.SetKeepNetworkOrder(false), a.Send(sink, "any link"))
		}),
	)
}

func (s *session) call(id, text string, frames int, to, request any) error {
	return s.do(id, text, frames, "call", func(a *actor) (any, error) { return a.CallWithTimeout(to, request, 1) })
}

func (s *session) calls() error {
	echo, fail := s.other.pid("echo"), s.other.pid("fail")
	return errors.Join(
		s.connect(6),
		s.call("pid", "by PID", 2, echo, "ping"),
		s.call("name", "by name, a registered struct", 2, named("echo"), types.Point{X: 3, Y: 4}),
		s.call("name_cached", "by a name in A's atom cache", 2, named("cached_echo"), gen.Atom("cached_echo")),
		s.call("alias", "by alias", 2, s.other.alias("echo"), []any{nil, "x"}),
		s.call("err_unknown", "code 1", 2, fail, gen.ErrProcessUnknown),
		s.call("err_full", "code 2", 2, fail, gen.ErrProcessMailboxFull),
		s.call("err_terminated", "code 3", 2, fail, gen.ErrProcessTerminated),
		s.call("err_registered", "code 255 and an error from B's cache", 2, fail, gen.ErrNotAllowed),
		s.call("err_text", "code 255 and an error by its text", 2, fail, errors.New("something else")),
		s.call("timeout", "nobody answers", 1, s.other.pid("sink"), "x"),
		s.do("important", "an important request to an unknown name is refused at once", 2, "call", func(a *actor) (any, error) {
			return a.CallImportant(named("nobody"), "x")
		}),
	)
}

func (s *session) compression() error {
	sink := s.other.pid("sink")
	text := strings.Repeat("compress me please, ", 60)
	packed := func(kind gen.CompressionType, level gen.CompressionLevel) func(*actor) error {
		return func(a *actor) error {
			return errors.Join(a.SetCompression(true), a.SetCompressionType(kind), a.SetCompressionLevel(level), a.Send(sink, text))
		}
	}
	return errors.Join(
		s.connect(6),
		s.send("gzip", "gzip, default level", 1, packed(gen.CompressionTypeGZIP, gen.CompressionDefault)),
		s.send("gzip_speed", "gzip, best speed", 1, packed(gen.CompressionTypeGZIP, gen.CompressionBestSpeed)),
		s.send("gzip_size", "gzip, best size", 1, packed(gen.CompressionTypeGZIP, gen.CompressionBestSize)),
		s.send("zlib", "zlib", 1, packed(gen.CompressionTypeZLIB, gen.CompressionDefault)),
		s.send("lzw", "lzw", 1, packed(gen.CompressionTypeLZW, gen.CompressionDefault)),
		s.send("below", "shorter than the threshold", 1, func(a *actor) error { return a.Send(sink, text[:300]) }),
		s.call("request", "a packed request by name; the answer is not packed", 2, named("echo"), text),
	)
}

func (s *session) monitors() error {
	return errors.Join(
		s.connect(6),
		s.send("monitor", "monitor by name: request and result", 2, func(a *actor) error { return a.Monitor(named("mortal")) }),
		s.send("end", "the process ends, and its name with it", 2, func(a *actor) error { return a.Send(named("mortal"), "end") }),
		s.send("unknown", "monitor of an unknown name", 2, func(a *actor) error { return a.Monitor(named("nobody")) }),
	)
}

func named(name gen.Atom) gen.ProcessID {
	return gen.ProcessID{Name: name, Node: "b@localhost"}
}

// An actor is A's process.
type actor struct{ act.Actor }

type work func(*actor)

func (a *actor) HandleMessage(_ gen.PID, message any) error {
	if work, ok := message.(work); ok {
		work(a)
	}
	return nil
}
