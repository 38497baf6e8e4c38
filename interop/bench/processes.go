package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"

	"example.org/postroad/interop/ergonode"
)

const (
	crowd         = 10_000 // processes that are there when memory is measured: Ergo takes its time to undo more links
	spawned       = 50_000
	watchedHere   = 100_000
	watchedThere  = 5_000
	important     = 10_000
	subscriptions = 10 // nodes that the subscribers are on
	patience      = 2 * time.Minute
)

// subscribers is how many there are of an event: as side-by-side says.
var subscribers = sync.OnceValue(func() int {
	if number, err := strconv.Atoi(os.Getenv("BENCH_SUBSCRIBERS")); err == nil {
		return number
	}
	return 100_000
})

func processBenches() []bench {
	return []bench{
		{"memory/process", 0, memory(nil)},
		{"memory/link", 0, memory(func(m *member) error { return m.LinkPID(m.hub) })},
		{"memory/monitor", 0, memory(func(m *member) error { return m.MonitorPID(m.hub) })},
		{"memory/subscription", 0, memory(func(m *member) error {
			_, err := m.MonitorEvent(m.event)
			return err
		})},
		{"spawn", 0, spawn},
		{"monitor_demonitor/local", 0, monitor(here, watchedHere)},
		{"monitor_demonitor/remote", 0, monitor(there, watchedThere)},
		{"remote_send_important", 0, sendImportant},
		{"publish/local", 0, publish(1)},
		{"publish/10_nodes", 0, publish(subscriptions)},
	}
}

// A member does nothing but what it is told when it begins, and counts events.
type member struct {
	act.Actor
	hub   gen.PID
	event gen.Event
	begin func(*member) error
	left  *atomic.Int64
	done  chan<- struct{}
}

func (m *member) Init(...any) error {
	if m.begin == nil {
		return nil
	}
	return m.begin(m)
}

func (m *member) HandleEvent(gen.MessageEvent) error {
	if m.left != nil && m.left.Add(-1) == 0 {
		m.done <- struct{}{}
	}
	return nil
}

// spawnMembers starts so many copies of one, one after the other.
func spawnMembers(node gen.Node, one member, count int) ([]gen.PID, error) {
	pids := make([]gen.PID, 0, count)
	for range count {
		pid, err := node.Spawn(func() gen.ProcessBehavior { copied := one; return &copied }, gen.ProcessOptions{})
		if err != nil {
			return pids, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// killAll returns when the processes are gone.
func killAll(node gen.Node, pids []gen.PID) error {
	for _, pid := range pids {
		if err := node.Kill(pid); err != nil {
			return err
		}
	}
	for _, pid := range pids {
		for _, err := node.ProcessInfo(pid); err == nil; _, err = node.ProcessInfo(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// memory measures the heap that a process with this tie needs more than one
// without; or all of it if there is no tie.
func memory(tie func(*member) error) func(*stage) (measurement, error) {
	return func(s *stage) (measurement, error) {
		hubs, err := spawnMembers(s.node, member{}, 1)
		if err != nil {
			return measurement{}, err
		}
		if _, err := s.node.RegisterEvent("memory", gen.EventOptions{}); err != nil {
			return measurement{}, err
		}
		defer s.node.UnregisterEvent("memory")
		with := member{hub: hubs[0], event: gen.Event{Name: "memory", Node: here}, begin: tie}
		each, err := s.heapEach(with)
		if err != nil || tie == nil {
			return measurement{bytesEach: each}, err
		}
		with.begin = nil
		bare, err := s.heapEach(with)
		return measurement{bytesEach: each - bare}, err
	}
}

func (s *stage) heapEach(one member) (int, error) {
	before := heap()
	pids, err := spawnMembers(s.node, one, crowd)
	if err != nil {
		return 0, err
	}
	each := (heap() - before) / crowd
	return each, killAll(s.node, pids)
}

// heap is what is in use once the garbage is gone.
func heap() int {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

func spawn(s *stage) (measurement, error) {
	start := time.Now()
	pids, err := spawnMembers(s.node, member{}, spawned)
	if err != nil {
		return measurement{}, err
	}
	took := time.Since(start)
	return measurement{messages: spawned, took: took}, killAll(s.node, pids)
}

// inActor has the stage's actor do something, and waits for the end of it.
func (s *stage) inActor(do func(*actor) error) error {
	done := make(chan error, 1)
	if err := s.node.Send(s.actor, work(func(a *actor) { done <- do(a) })); err != nil {
		return err
	}
	return <-done
}

func sinkOn(a *actor, node gen.Atom) (gen.PID, error) {
	sink, err := a.CallWithTimeout(gen.ProcessID{Name: sinkName(0), Node: node}, 0, 5)
	if err != nil {
		return gen.PID{}, err
	}
	return sink.(gen.PID), nil
}

// monitor measures monitoring a process and taking that back.
func monitor(node gen.Atom, count int) func(*stage) (measurement, error) {
	return func(s *stage) (measurement, error) {
		var took time.Duration
		err := s.inActor(func(a *actor) error {
			target, err := sinkOn(a, node)
			if err != nil {
				return err
			}
			start := time.Now()
			for range count {
				if err := a.MonitorPID(target); err != nil {
					return err
				}
				if err := a.DemonitorPID(target); err != nil {
					return err
				}
			}
			took = time.Since(start)
			return nil
		})
		return measurement{messages: count, took: took}, err
	}
}

func sendImportant(s *stage) (measurement, error) {
	durations := make([]time.Duration, 0, important)
	err := s.inActor(func(a *actor) error {
		target, err := sinkOn(a, there)
		if err != nil {
			return err
		}
		for range important {
			start := time.Now()
			if err := a.SendImportant(target, 42); err != nil {
				return err
			}
			durations = append(durations, time.Since(start))
		}
		return nil
	})
	return measurement{calls: durations}, err
}

// publish measures how many subscribers get a publication in a second, when it
// is published once all have handled the last one. With one node the publisher
// is on it; with more it is on another one. Subscribing is not measured.
func publish(nodes int) func(*stage) (measurement, error) {
	var token gen.Ref
	var publisher *ergonode.Node
	var left atomic.Int64
	done := make(chan struct{}, 1)
	setUp := func() error {
		var err error
		options := ergonode.Options{Name: fmt.Sprintf("publisher-%d@localhost", nodes), Cookie: cookie, LogLevel: gen.LogLevelDisabled}
		if publisher, err = ergonode.Start(options); err != nil {
			return err
		}
		if token, err = publisher.RegisterEvent("news", gen.EventOptions{}); err != nil {
			return err
		}
		one := member{left: &left, done: done, event: gen.Event{Name: "news", Node: publisher.Name()}}
		one.begin = func(m *member) error {
			_, err := m.MonitorEvent(m.event)
			return err
		}
		start := time.Now()
		for number := range nodes {
			node := publisher
			if nodes > 1 {
				name := fmt.Sprintf("subscribers-%d@localhost", number)
				node, err = ergonode.Start(ergonode.Options{Name: name, Cookie: cookie, Hidden: true, LogLevel: gen.LogLevelDisabled})
				if err != nil {
					return err
				}
				route := gen.NetworkRoute{Route: gen.Route{Host: "127.0.0.1", Port: publisher.Port}}
				if err := node.AddRoute("^"+string(publisher.Name())+"$", route, 100); err != nil {
					return err
				}
			}
			if _, err := spawnMembers(node, one, subscribers()/nodes); err != nil {
				return err
			}
		}
		name := "publish/local/subscribe"
		if nodes > 1 {
			name = fmt.Sprintf("publish/%d_nodes/subscribe", nodes)
		}
		print(bench{name: name}.summary([]measurement{{messages: subscribers(), took: time.Since(start)}}))
		return nil
	}
	return func(*stage) (measurement, error) {
		if publisher == nil {
			if err := setUp(); err != nil {
				return measurement{}, err
			}
		}
		left.Store(int64(subscribers()))
		start := time.Now()
		if err := publisher.SendEvent("news", token, gen.MessageOptions{}, 42); err != nil {
			return measurement{}, err
		}
		select {
		case <-done:
			return measurement{messages: subscribers(), took: time.Since(start)}, nil
		case <-time.After(patience):
			return measurement{}, fmt.Errorf("%d of %d subscribers have got nothing", left.Load(), subscribers())
		}
	}
}
