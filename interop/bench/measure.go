package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"

	"example.org/postroad/interop/ergonode"
)

// serve is the other node: sinks and an echo, until stdin ends.
func serve(pool int) error {
	node, err := ergonode.Start(ergonode.Options{Name: there, Cookie: cookie, Pool: pool, LogLevel: gen.LogLevelDisabled})
	if err != nil {
		return err
	}
	if err := populate(node); err != nil {
		return err
	}
	fmt.Println(node.Port)
	_, err = io.Copy(io.Discard, os.Stdin)
	node.StopForce()
	return err
}

// populate starts the processes that both nodes have.
func populate(node gen.Node) error {
	for i := range pairs() {
		if _, err := node.SpawnRegister(sinkName(i), newSink, gen.ProcessOptions{}); err != nil {
			return err
		}
	}
	_, err := node.SpawnRegister("echo", newEcho, gen.ProcessOptions{})
	return err
}

func sinkName(i int) gen.Atom { return gen.Atom(fmt.Sprintf("sink-%d", i)) }

// A sink counts messages, and tells whoever asked when it has them all.
type sink struct {
	act.Actor
	waiting gen.PID
	left    int
}

func newSink() gen.ProcessBehavior { return &sink{} }

// HandleCall takes the number of messages to wait for, and answers its own PID.
func (s *sink) HandleCall(from gen.PID, _ gen.Ref, request any) (any, error) {
	s.waiting, s.left = from, request.(int)
	return s.PID(), nil
}

func (s *sink) HandleMessage(gen.PID, any) error {
	if s.left--; s.left == 0 {
		return s.Send(s.waiting, "all here")
	}
	return nil
}

type echo struct{ act.Actor }

func newEcho() gen.ProcessBehavior { return &echo{} }

func (*echo) HandleCall(_ gen.PID, _ gen.Ref, request any) (any, error) { return request, nil }

// A source sends its messages and ends.
type source struct {
	act.Actor
	to      gen.PID
	count   int
	message any
}

type begin struct{}

func (s *source) Init(...any) error { return s.Send(s.PID(), begin{}) }

func (s *source) HandleMessage(gen.PID, any) error {
	for range s.count {
		if err := s.Send(s.to, s.message); err != nil {
			return err
		}
	}
	return gen.TerminateReasonNormal
}

// An actor is the process that calls and is told for us.
type actor struct {
	act.Actor
	done func()
	left int
}

type work func(*actor)

func (a *actor) HandleMessage(_ gen.PID, message any) error {
	if work, ok := message.(work); ok {
		work(a)
		return nil
	}
	if a.left--; a.left == 0 {
		a.done()
	}
	return nil
}

// transfer measures count messages from a source of its own to each sink, from
// the first source's start to the last sink's end.
func (s *stage) transfer(sinks []gen.ProcessID, count int, message any) (measurement, error) {
	done := make(chan time.Time, 1)
	failed := make(chan error, 1)
	var start time.Time
	err := s.node.Send(s.actor, work(func(a *actor) {
		a.left = len(sinks)
		a.done = func() { done <- time.Now() }
		var targets []gen.PID
		for _, sink := range sinks {
			target, err := a.CallWithTimeout(sink, count, 5)
			if err != nil {
				failed <- err
				return
			}
			targets = append(targets, target.(gen.PID))
		}
		start = time.Now()
		for _, target := range targets {
			factory := func() gen.ProcessBehavior { return &source{to: target, count: count, message: message} }
			if _, err := a.Spawn(factory, gen.ProcessOptions{}); err != nil {
				failed <- err
				return
			}
		}
	}))
	if err != nil {
		return measurement{}, err
	}
	select {
	case end := <-done:
		return measurement{messages: len(sinks) * count, took: end.Sub(start)}, nil
	case err := <-failed:
		return measurement{}, err
	case <-time.After(30 * time.Second):
		return measurement{}, gen.ErrTimeout
	}
}

func send(node gen.Atom, pairs, count int, message any) func(*stage) (measurement, error) {
	var sinks []gen.ProcessID
	for i := range pairs {
		sinks = append(sinks, gen.ProcessID{Name: sinkName(i), Node: node})
	}
	return func(s *stage) (measurement, error) { return s.transfer(sinks, count, message) }
}

func (s *stage) calls(to gen.ProcessID, count int) (measurement, error) {
	done := make(chan error, 1)
	durations := make([]time.Duration, 0, count)
	err := s.node.Send(s.actor, work(func(a *actor) {
		for range count {
			start := time.Now()
			if _, err := a.CallWithTimeout(to, 0, 5); err != nil {
				done <- err
				return
			}
			durations = append(durations, time.Since(start))
		}
		done <- nil
	}))
	if err == nil {
		err = <-done
	}
	return measurement{calls: durations}, err
}

func call(node gen.Atom, count int) func(*stage) (measurement, error) {
	return func(s *stage) (measurement, error) {
		return s.calls(gen.ProcessID{Name: "echo", Node: node}, count)
	}
}
