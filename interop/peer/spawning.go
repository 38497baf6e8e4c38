package main

import (
	"encoding/json"
	"errors"

	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"
)

// A hatchling is a process that another node has started here. Asked anything,
// it tells what it was given, as JSON.
type hatchling struct {
	act.Actor
	args []any
}

func hatch() gen.ProcessBehavior { return &hatchling{} }

func (h *hatchling) Init(args ...any) error {
	if len(args) == 1 && args[0] == "fail" {
		return errors.New("out of coffee")
	}
	h.args = args
	return nil
}

func (h *hatchling) HandleCall(gen.PID, gen.Ref, any) (any, error) {
	args := []any{}
	for _, arg := range h.args {
		args = append(args, style.Encode(arg))
	}
	env := fields{}
	for name, value := range h.EnvList() {
		env[string(name)] = style.Encode(value)
	}
	text, err := json.Marshal(fields{
		"args": args, "env": env, "name": h.Name(), "parent": body(h.Parent()), "leader": body(h.Leader()),
	})
	return string(text), err
}

// spawnOn has another node start a process for this one, or for the node if
// there is no process.
func spawnOn(p *peer, w *worker, c command) (any, error) {
	var args []any
	for _, raw := range c.Args {
		arg, err := value(raw)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	env, err := environment(c)
	if err != nil {
		return nil, err
	}
	options := gen.ProcessOptions{Env: env, LinkChild: c.LinkChild, LinkParent: c.LinkParent}
	if w != nil {
		if c.Register != "" {
			pid, err := w.RemoteSpawnRegister(c.Node, c.Name, c.Register, options, args...)
			return body(pid), err
		}
		pid, err := w.RemoteSpawn(c.Node, c.Name, options, args...)
		return body(pid), err
	}
	remote, err := p.node.Network().GetNode(c.Node)
	if err != nil {
		return nil, err
	}
	if c.Register != "" {
		pid, err := remote.SpawnRegister(c.Register, c.Name, options, args...)
		return body(pid), err
	}
	pid, err := remote.Spawn(c.Name, options, args...)
	return body(pid), err
}

func environment(c command) (map[gen.Env]any, error) {
	env := make(map[gen.Env]any)
	for name, raw := range c.Env {
		variable, err := value(raw)
		if err != nil {
			return nil, err
		}
		env[gen.Env(name)] = variable
	}
	return env, nil
}

func (w *worker) spawnOn(c command) (any, error) { return spawnOn(w.peer, w, c) }
