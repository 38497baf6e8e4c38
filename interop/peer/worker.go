package main

import (
	"errors"

	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"

	"example.org/postroad/interop/types"
)

// A worker is a process of the peer: it answers the network by its role and
// sends for commands.
type worker struct {
	act.Actor
	peer  *peer
	name  gen.Atom
	alias gen.Alias
	role  role
	end   error
	// tokens are those of the events it has registered.
	tokens map[gen.Atom]gen.Ref
}

// A job is a command's work, done inside the process.
type job func(*worker)

// A role is what a worker does with what it gets.
type role interface {
	message(w *worker, via string, from gen.PID, value any)
	// request returns the answer, or nil for none.
	request(w *worker, via string, from gen.PID, ref gen.Ref, value any) any
}

func newRole(kind string) (role, bool) {
	switch kind {
	case "careful":
		return careful{}, true
	case "driver":
		return driver{}, true
	case "echo":
		return echo{}, true
	case "fail":
		return failing{}, true
	case "mute":
		return mute{}, true
	case "recorder":
		return newRecorder(), true
	case "stuck":
		return stuck{}, true
	}
	return nil, false
}

// driver shows what it gets and answers nothing.
type driver struct{}

func (driver) message(w *worker, via string, from gen.PID, value any) {
	w.show("message", via, from, value)
}

func (driver) request(w *worker, via string, from gen.PID, _ gen.Ref, value any) any {
	w.show("request", via, from, value)
	return nil
}

// echo gives everything back.
type echo struct{}

func (echo) message(w *worker, _ string, from gen.PID, value any) {
	if err := w.Send(from, value); err != nil {
		w.peer.out.event("error", fields{"error": "echo to " + from.String() + ": " + err.Error()})
	}
}

func (echo) request(_ *worker, _ string, _ gen.PID, _ gen.Ref, value any) any { return value }

// careful gives back what it is asked, waits until that is confirmed, and tells
// the test.
type careful struct{}

func (careful) message(*worker, string, gen.PID, any) {}

func (careful) request(w *worker, _ string, from gen.PID, ref gen.Ref, value any) any {
	sender, ok := any(w).(importantSender)
	if !ok {
		w.peer.out.event("confirmed", fields{"to": w.name, "error": gen.ErrUnsupported.Error()})
		return value
	}
	outcome := ""
	if err := sender.SendResponseImportant(from, ref, value); err != nil {
		outcome = err.Error()
	}
	w.peer.out.event("confirmed", fields{"to": w.name, "error": outcome})
	return nil
}

// An importantSender can have an answer confirmed: any process, since 3.2.0.
type importantSender interface {
	SendResponseImportant(to gen.PID, ref gen.Ref, message any) error
}

// failing answers with the error it is asked for.
type failing struct{}

func (failing) message(*worker, string, gen.PID, any) {}

func (failing) request(w *worker, _ string, from gen.PID, ref gen.Ref, value any) any {
	reason := gen.ErrIncorrect
	switch asked := value.(type) {
	case error:
		reason = types.Coded(asked)
	case string:
		reason = types.Coded(errors.New(asked))
	case bool:
		reason = nil
	}
	if err := w.SendResponseError(from, ref, reason); err != nil {
		w.peer.out.event("error", fields{"error": "fail to " + from.String() + ": " + err.Error()})
	}
	return nil
}

// mute says nothing to anybody but the test.
type mute struct{}

func (mute) message(*worker, string, gen.PID, any) {}

func (mute) request(w *worker, via string, from gen.PID, _ gen.Ref, value any) any {
	w.show("request", via, from, value)
	return nil
}

// stuck shows the first message or request it gets, and never has done with it.
type stuck struct{}

func (stuck) message(w *worker, via string, from gen.PID, value any) {
	w.show("message", via, from, value)
	select {}
}

func (stuck) request(w *worker, via string, from gen.PID, _ gen.Ref, value any) any {
	w.show("request", via, from, value)
	select {}
}

func (w *worker) show(event, via string, from gen.PID, value any) {
	w.peer.out.event(event, fields{"to": w.name, "via": via, "from": body(from), "value": style.Encode(value)})
}

// Init tells apart how it was addressed, and outlives those it is linked to.
func (w *worker) Init(...any) error {
	w.SetSplitHandle(true)
	w.SetTrapExit(true)
	w.tokens = make(map[gen.Atom]gen.Ref)
	return nil
}

func (w *worker) HandleMessage(from gen.PID, message any) error {
	switch m := message.(type) {
	case job:
		m(w)
	case waitOver:
		if recorder, ok := w.role.(*recorder); ok {
			recorder.expire(w, m)
		}
	case gen.MessageDownPID:
		w.gone("down", m.PID, m.Reason)
	case gen.MessageDownProcessID:
		w.gone("down", m.ProcessID, m.Reason)
	case gen.MessageDownAlias:
		w.gone("down", m.Alias, m.Reason)
	case gen.MessageDownEvent:
		w.gone("down", m.Event, m.Reason)
	case gen.MessageDownNode:
		w.gone("down", m.Name, gen.ErrNoConnection)
	case gen.MessageEventStart:
		w.peer.out.event("event_start", fields{"to": w.name, "name": m.Name})
	case gen.MessageEventStop:
		w.peer.out.event("event_stop", fields{"to": w.name, "name": m.Name})
	case gen.MessageExitPID:
		w.gone("exit", m.PID, m.Reason)
	case gen.MessageExitProcessID:
		w.gone("exit", m.ProcessID, m.Reason)
	case gen.MessageExitAlias:
		w.gone("exit", m.Alias, m.Reason)
	case gen.MessageExitEvent:
		w.gone("exit", m.Event, m.Reason)
	case gen.MessageExitNode:
		w.gone("exit", m.Name, gen.ErrNoConnection)
	default:
		w.role.message(w, "pid", from, message)
	}
	if w.end == gen.TerminateReasonPanic {
		panic("the test wants it")
	}
	return w.end
}

// Terminate is called when all that watch the process have been told.
func (w *worker) Terminate(reason error) {
	w.peer.out.event("ended", fields{"to": w.name, "reason": reason.Error()})
}

func (w *worker) gone(event string, target any, reason error) {
	w.peer.out.event(event, fields{"to": w.name, "target": address(target), "reason": reason.Error()})
}

func (w *worker) HandleMessageName(_ gen.Atom, from gen.PID, message any) error {
	w.role.message(w, "name", from, message)
	return nil
}

func (w *worker) HandleMessageAlias(_ gen.Alias, from gen.PID, message any) error {
	w.role.message(w, "alias", from, message)
	return nil
}

func (w *worker) HandleCall(from gen.PID, ref gen.Ref, request any) (any, error) {
	return w.role.request(w, "pid", from, ref, request), nil
}

func (w *worker) HandleCallName(_ gen.Atom, from gen.PID, ref gen.Ref, request any) (any, error) {
	return w.role.request(w, "name", from, ref, request), nil
}

func (w *worker) HandleCallAlias(_ gen.Alias, from gen.PID, ref gen.Ref, request any) (any, error) {
	return w.role.request(w, "alias", from, ref, request), nil
}

func (w *worker) HandleEvent(event gen.MessageEvent) error {
	w.peer.out.event("published", fields{"to": w.name, "name": event.Event.Name, "node": event.Event.Node, "value": style.Encode(event.Message)})
	return nil
}
