package main

import (
	"sync"
	"time"

	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"
)

// A burst is a process that sends numbered messages and ends.
type burst struct {
	act.Actor
	plan *plan
}

// A plan is what all senders of one send_many do, and what became of it.
type plan struct {
	to         any
	start      int
	count      int
	pauseEvery int
	pause      time.Duration

	mutex   sync.Mutex
	running int
	sent    int
	errors  map[string]int
	done    func(*plan)
}

func newPlan(to any, c command, senders int, done func(*plan)) *plan {
	return &plan{
		to: to, start: c.Start, count: c.Count,
		pauseEvery: c.PauseEvery, pause: time.Duration(c.PauseUs) * time.Microsecond,
		running: senders, errors: make(map[string]int), done: done,
	}
}

type begin struct{}

func (b *burst) Init(...any) error {
	return b.Send(b.PID(), begin{})
}

func (b *burst) HandleMessage(gen.PID, any) error {
	sent, failures := 0, map[string]int{}
	for i := 0; i < b.plan.count; i++ {
		if err := b.Send(b.plan.to, b.plan.start+i); err != nil {
			failures[err.Error()]++
		} else {
			sent++
		}
		if b.plan.pauseEvery > 0 && (i+1)%b.plan.pauseEvery == 0 {
			time.Sleep(b.plan.pause)
		}
	}
	b.plan.finished(sent, failures)
	return gen.TerminateReasonNormal
}

func (p *plan) finished(sent int, failures map[string]int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.sent += sent
	for text, times := range failures {
		p.errors[text] += times
	}
	if p.running--; p.running == 0 {
		p.done(p)
	}
}
