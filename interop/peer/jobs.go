package main

import (
	"errors"
	"fmt"
	"time"

	"ergo.services/ergo/gen"

	"example.org/postroad/interop/typed"
)

const defaultCallSeconds = 5

// jobs are the commands that a process of the peer carries out itself.
var jobs = map[string]struct {
	by func(command) gen.Atom
	do func(*worker, command) (any, error)
}{
	"send":             {as, (*worker).send},
	"call":             {as, (*worker).call},
	"spawn_on":         {as, (*worker).spawnOn},
	"send_exit":        {as, (*worker).sendExit},
	"monitor":          {as, (*worker).monitor},
	"demonitor":        {as, (*worker).demonitor},
	"link":             {as, (*worker).link},
	"unlink":           {as, (*worker).unlink},
	"register_event":   {as, (*worker).registerEvent},
	"unregister_event": {as, (*worker).unregisterEvent},
	"publish":          {as, (*worker).publish},
	"compress":         {process("driver"), (*worker).compress},
	"network_order":    {process("driver"), (*worker).networkOrder},
	"exit":             {process(""), (*worker).exit},
	"unregister_name":  {process(""), (*worker).unregisterName},
	"delete_alias":     {process(""), (*worker).deleteAlias},
	"recorder_wait":    {process("recorder"), (*worker).recorderWait},
	"recorder_report":  {process("recorder"), (*worker).recorderReport},
	"recorder_reset":   {process("recorder"), (*worker).recorderReset},
}

func as(c command) gen.Atom {
	if c.As == "" {
		return "driver"
	}
	return c.As
}

func process(usual gen.Atom) func(command) gen.Atom {
	return func(c command) gen.Atom {
		if c.Process == "" {
			return usual
		}
		return c.Process
	}
}

// later is the result of a job that replies by itself.
type later struct{}

func (p *peer) delegate(c command) error {
	known, ok := jobs[c.Cmd]
	if !ok {
		return fmt.Errorf("no such command: %q", c.Cmd)
	}
	doer, err := p.worker(known.by(c))
	if err != nil {
		return err
	}
	return p.node.Send(doer.PID(), job(func(w *worker) {
		result, err := known.do(w, c)
		if result != (later{}) {
			p.answer(c, result, err)
		}
	}))
}

func (w *worker) send(c command) (any, error) {
	to, message, err := w.addressed(c)
	if err != nil {
		return nil, err
	}
	priority, err := priority(c.Priority)
	if err != nil {
		return nil, err
	}
	if err := w.SetImportantDelivery(c.Important); err != nil {
		return nil, err
	}
	return true, w.SendWithPriority(to, message, priority)
}

func (w *worker) call(c command) (any, error) {
	to, request, err := w.addressed(c)
	if err != nil {
		return nil, err
	}
	if err := w.SetImportantDelivery(c.Important); err != nil {
		return nil, err
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultCallSeconds
	}
	answer, err := w.CallWithTimeout(to, request, timeout)
	if err != nil {
		return nil, err
	}
	return style.Encode(answer), nil
}

func (w *worker) addressed(c command) (to, message any, err error) {
	if to, err = w.peer.target(c.To); err != nil {
		return nil, nil, err
	}
	message, err = value(c.Value)
	return to, message, err
}

func (w *worker) sendExit(c command) (any, error) {
	to, err := w.peer.target(c.To)
	if err != nil {
		return nil, err
	}
	pid, ok := to.(gen.PID)
	if !ok {
		return nil, errors.New("an exit goes to a pid")
	}
	return true, w.SendExit(pid, reason(c))
}

func (w *worker) exit(c command) (any, error) {
	w.end = reason(c)
	w.peer.forget(w.name)
	return true, nil
}

func (w *worker) unregisterName(command) (any, error) {
	return true, w.UnregisterName()
}

func (w *worker) deleteAlias(command) (any, error) {
	return true, w.DeleteAlias(w.alias)
}

func reason(c command) error {
	switch c.Reason {
	case "", gen.TerminateReasonNormal.Error():
		return gen.TerminateReasonNormal
	case gen.TerminateReasonShutdown.Error():
		return gen.TerminateReasonShutdown
	case gen.TerminateReasonKill.Error():
		return gen.TerminateReasonKill
	case gen.TerminateReasonPanic.Error():
		return gen.TerminateReasonPanic
	}
	return errors.New(c.Reason)
}

// watched finds what a monitor or link is about: a process, an event or a node.
func (w *worker) watched(c command) (any, error) {
	switch {
	case c.Event != nil:
		return typed.DecodeAs("event", c.Event)
	case c.Node != "":
		return c.Node, nil
	}
	return w.peer.target(c.To)
}

func (w *worker) monitor(c command) (any, error) {
	target, err := w.watched(c)
	if err != nil {
		return nil, err
	}
	switch t := target.(type) {
	case gen.Atom:
		return true, w.MonitorNode(t)
	case gen.Event:
		return last(w.MonitorEvent(t))
	}
	return true, w.Monitor(target)
}

func (w *worker) demonitor(c command) (any, error) {
	target, err := w.watched(c)
	if err != nil {
		return nil, err
	}
	switch t := target.(type) {
	case gen.Atom:
		return true, w.DemonitorNode(t)
	case gen.Event:
		return true, w.DemonitorEvent(t)
	}
	return true, w.Demonitor(target)
}

func (w *worker) link(c command) (any, error) {
	target, err := w.watched(c)
	if err != nil {
		return nil, err
	}
	switch t := target.(type) {
	case gen.Atom:
		return true, w.LinkNode(t)
	case gen.Event:
		return last(w.LinkEvent(t))
	}
	return true, w.Link(target)
}

func (w *worker) unlink(c command) (any, error) {
	target, err := w.watched(c)
	if err != nil {
		return nil, err
	}
	switch t := target.(type) {
	case gen.Atom:
		return true, w.UnlinkNode(t)
	case gen.Event:
		return true, w.UnlinkEvent(t)
	}
	return true, w.Unlink(target)
}

// last shows what was published before.
func last(events []gen.MessageEvent, err error) (any, error) {
	values := make([]any, len(events))
	for i, event := range events {
		values[i] = style.Encode(event.Message)
	}
	return values, err
}

func (w *worker) registerEvent(c command) (any, error) {
	token, err := w.RegisterEvent(c.Name, gen.EventOptions{Notify: c.Notify, Buffer: c.Count})
	if err == nil {
		w.tokens[c.Name] = token
	}
	return true, err
}

func (w *worker) unregisterEvent(c command) (any, error) {
	return true, w.UnregisterEvent(c.Name)
}

func (w *worker) publish(c command) (any, error) {
	message, err := value(c.Value)
	if err != nil {
		return nil, err
	}
	return true, w.SendEvent(c.Name, w.tokens[c.Name], message)
}

func (w *worker) compress(c command) (any, error) {
	if c.Type == "off" {
		return true, w.SetCompression(false)
	}
	levels := map[string]gen.CompressionLevel{
		"": gen.CompressionDefault, "default": gen.CompressionDefault,
		"size": gen.CompressionBestSize, "speed": gen.CompressionBestSpeed,
	}
	level, ok := levels[c.Level]
	if !ok {
		return nil, fmt.Errorf("no such compression level: %q", c.Level)
	}
	threshold := c.Threshold
	if threshold == 0 {
		threshold = gen.DefaultCompressionThreshold
	}
	return true, errors.Join(
		w.SetCompressionType(gen.CompressionType(c.Type)),
		w.SetCompressionLevel(level),
		w.SetCompressionThreshold(threshold),
		w.SetCompression(true),
	)
}

func (w *worker) networkOrder(c command) (any, error) {
	return true, w.SetKeepNetworkOrder(c.Keep)
}

func (w *worker) recorderWait(c command) (any, error) {
	recorder, err := w.recorder()
	if err != nil {
		return nil, err
	}
	recorder.wait(w, c.ID, c.Count, time.Duration(c.TimeoutMs)*time.Millisecond)
	return later{}, nil
}

func (w *worker) recorderReport(command) (any, error) {
	recorder, err := w.recorder()
	if err != nil {
		return nil, err
	}
	return recorder.report(), nil
}

func (w *worker) recorderReset(command) (any, error) {
	recorder, err := w.recorder()
	if err != nil {
		return nil, err
	}
	recorder.reset()
	return true, nil
}

func (w *worker) recorder() (*recorder, error) {
	recorder, ok := w.role.(*recorder)
	if !ok {
		return nil, fmt.Errorf("%s is no recorder", w.name)
	}
	return recorder, nil
}

func priority(name string) (gen.MessagePriority, error) {
	switch name {
	case "", "normal":
		return gen.MessagePriorityNormal, nil
	case "high":
		return gen.MessagePriorityHigh, nil
	case "max":
		return gen.MessagePriorityMax, nil
	}
	return 0, fmt.Errorf("no such priority: %q", name)
}
