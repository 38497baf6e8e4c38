package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"ergo.services/ergo/gen"

	"example.org/postroad/interop/typed"
	"example.org/postroad/interop/types"
)

// A command is one line of stdin. Which fields count depends on cmd.
type command struct {
	ID  json.RawMessage `json:"id"`
	Cmd string          `json:"cmd"`

	// Routes and connections.
	Pattern  string   `json:"pattern"`
	Host     string   `json:"host"`
	Port     uint16   `json:"port"`
	Weight   int      `json:"weight"`
	Cookie   string   `json:"cookie"`
	TLS      bool     `json:"tls"`
	Flags    string   `json:"flags"`
	Resolver bool     `json:"resolver"`
	Node     gen.Atom `json:"node"`
	Link     int      `json:"link"`

	// Processes.
	Name    gen.Atom `json:"name"`
	Kind    string   `json:"kind"`
	Process gen.Atom `json:"process"`
	As      gen.Atom `json:"as"`
	Reason  string   `json:"reason"`
	Mailbox int64    `json:"mailbox"`

	// Processes of other nodes.
	Register   gen.Atom                   `json:"register"`
	Args       []json.RawMessage          `json:"args"`
	Env        map[string]json.RawMessage `json:"env"`
	LinkChild  bool                       `json:"link_child"`
	LinkParent bool                       `json:"link_parent"`
	Nodes      []gen.Atom                 `json:"nodes"`
	Mode       string                     `json:"mode"`

	// Messages.
	To        json.RawMessage `json:"to"`
	Event     json.RawMessage `json:"event"`
	Notify    bool            `json:"notify"`
	Value     json.RawMessage `json:"value"`
	Priority  string          `json:"priority"`
	Important bool            `json:"important"`
	Timeout   int             `json:"timeout"`

	// Bursts and their records.
	Count      int `json:"count"`
	Senders    int `json:"senders"`
	Start      int `json:"start"`
	PauseEvery int `json:"pause_every"`
	PauseUs    int `json:"pause_us"`
	TimeoutMs  int `json:"timeout_ms"`

	// How a process sends.
	Type      string `json:"type"`
	Level     string `json:"level"`
	Threshold int    `json:"threshold"`
	Keep      bool   `json:"keep"`
}

func parse(line []byte) (command, error) {
	var c command
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, fmt.Errorf("not a command: %w", err)
	}
	if c.ID == nil {
		return c, fmt.Errorf("a command without id: %.200s", line)
	}
	return c, nil
}

type fields = map[string]any

// style keeps lines short enough to read: long content is told by its digest.
var style = typed.Style{Digest: 4096}

type output struct {
	mutex sync.Mutex
	to    io.Writer
}

func (o *output) reply(id json.RawMessage, ok any) { o.line(fields{"id": id, "ok": ok}) }

func (o *output) fail(id json.RawMessage, err error) {
	o.line(fields{"id": id, "error": err.Error()})
}

func (o *output) event(name string, event fields) {
	line := fields{"event": name}
	for field, value := range event {
		line[field] = value
	}
	o.line(line)
}

func (o *output) line(line fields) {
	text, err := json.Marshal(line)
	if err != nil {
		text, _ = json.Marshal(fields{"event": "error", "error": err.Error()})
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.to.Write(append(text, '\n'))
}

// value reads what a command wants to send.
func value(raw json.RawMessage) (any, error) {
	var spec struct {
		Sample  string `json:"sample"`
		Payload *int   `json:"payload"`
		Seed    uint64 `json:"seed"`
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	switch {
	case spec.Sample != "":
		for _, sample := range types.Samples() {
			if sample.Name == spec.Sample {
				return sample.Value, nil
			}
		}
		return nil, fmt.Errorf("no sample is called %q", spec.Sample)
	case spec.Payload != nil:
		if *spec.Payload < 0 {
			return nil, fmt.Errorf("a payload of %d bytes", *spec.Payload)
		}
		return payload(*spec.Payload, spec.Seed), nil
	}
	return typed.Decode(raw)
}

// payload makes bytes that do not compress, and that are the same everywhere.
func payload(length int, seed uint64) []byte {
	content := make([]byte, length)
	for i := range content {
		seed = seed*6364136223846793005 + 1442695040888963407
		content[i] = byte(seed >> 56)
	}
	return content
}

// target reads the address a command names: a PID, ProcessID or Alias.
func (p *peer) target(raw json.RawMessage) (any, error) {
	if raw == nil {
		return nil, fmt.Errorf("\"to\" is missing")
	}
	var address struct {
		PID   json.RawMessage `json:"pid"`
		Alias json.RawMessage `json:"alias"`
		Name  *gen.Atom       `json:"name"`
		Node  gen.Atom        `json:"node"`
	}
	if err := json.Unmarshal(raw, &address); err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	switch {
	case address.PID != nil:
		return typed.DecodeAs("pid", address.PID)
	case address.Alias != nil:
		return typed.DecodeAs("alias", address.Alias)
	case address.Name != nil:
		if address.Node == "" {
			address.Node = p.node.Name()
		}
		return gen.ProcessID{Name: *address.Name, Node: address.Node}, nil
	}
	return nil, fmt.Errorf("to: neither pid nor name nor alias in %.200s", raw)
}

// address writes a PID, ProcessID, Alias, Event or node name as commands name them.
func address(target any) fields {
	switch t := target.(type) {
	case gen.PID:
		return fields{"pid": body(t)}
	case gen.Alias:
		return fields{"alias": body(t)}
	case gen.ProcessID:
		return fields{"name": t.Name, "node": t.Node}
	case gen.Event:
		return fields{"event": fields{"name": t.Name, "node": t.Node}}
	case gen.Atom:
		return fields{"node": t}
	}
	return fields{}
}

// body is a value without its type.
func body(v any) any { return style.Encode(v).(typed.Value).Value }
