package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"
	"ergo.services/ergo/net/edf"

	"example.org/postroad/interop/ergonode"
	"example.org/postroad/interop/types"
)

// other is node B: a process of its own, so that its tables are its own.
type other struct {
	Port     uint16
	Creation int64
	PIDs     map[gen.Atom]uint64
	Aliases  map[gen.Atom][3]uint64
}

func (o other) pid(name gen.Atom) gen.PID {
	return gen.PID{Node: "b@localhost", ID: o.PIDs[name], Creation: o.Creation}
}

func (o other) alias(name gen.Atom) gen.Alias {
	return gen.Alias{Node: "b@localhost", ID: o.Aliases[name], Creation: o.Creation}
}

// startOther starts this program again, as B.
func startOther(pool int) (*exec.Cmd, other, error) {
	var b other
	path, err := os.Executable()
	if err != nil {
		return nil, b, err
	}
	program := exec.Command(path, "-serve", "-pool", fmt.Sprint(pool))
	program.Stderr = os.Stderr
	out, err := program.StdoutPipe()
	if err != nil {
		return nil, b, err
	}
	// B ends when this pipe does, whatever happens to us.
	if _, err := program.StdinPipe(); err != nil {
		return nil, b, err
	}
	if err := program.Start(); err != nil {
		return nil, b, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return nil, b, fmt.Errorf("node B did not start: %w", err)
	}
	return program, b, json.Unmarshal(line, &b)
}

func serve(pool int) error {
	// An atom of B's own, so that ids differ between the sides.
	if err := errors.Join(edf.RegisterAtom("b_only"), edf.RegisterAtom("b@localhost"), types.Register()); err != nil {
		return err
	}
	node, err := ergonode.Start(ergonode.Options{
		Name: "b@localhost", Cookie: cookie, Pool: pool, LogLevel: gen.LogLevelDisabled,
	})
	if err != nil {
		return err
	}
	b := other{Port: node.Port, Creation: node.Creation(), PIDs: map[gen.Atom]uint64{}, Aliases: map[gen.Atom][3]uint64{}}
	for _, name := range []gen.Atom{"echo", "cached_echo", "fail", "sink", "mortal"} {
		aliased := make(chan gen.Alias, 1)
		pid, err := node.SpawnRegister(name, func() gen.ProcessBehavior { return &scripted{aliased: aliased} }, gen.ProcessOptions{})
		if err != nil {
			return err
		}
		if err := node.Send(pid, begin{}); err != nil {
			return err
		}
		b.PIDs[name], b.Aliases[name] = pid.ID, (<-aliased).ID
	}
	line, err := json.Marshal(b)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	_, err = io.Copy(io.Discard, os.Stdin)
	node.StopForce()
	return err
}

// scripted is a process of B; its name says what it does.
type scripted struct {
	act.Actor
	aliased chan<- gen.Alias
}

type begin struct{}

func (s *scripted) HandleMessage(from gen.PID, message any) error {
	if _, ok := message.(begin); ok {
		alias, err := s.CreateAlias()
		s.aliased <- alias
		return err
	}
	switch s.Name() {
	case "echo", "cached_echo":
		return s.Send(from, message)
	case "mortal":
		return gen.TerminateReasonNormal
	}
	return nil
}

func (s *scripted) HandleCall(from gen.PID, ref gen.Ref, request any) (any, error) {
	switch s.Name() {
	case "echo", "cached_echo":
		return request, nil
	case "fail":
		if asked, ok := request.(error); ok {
			return nil, s.SendResponseError(from, ref, types.Coded(asked))
		}
	}
	return nil, nil
}
