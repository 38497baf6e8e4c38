package main

import (
	"encoding/json"
	"slices"
	"time"

	"ergo.services/ergo/gen"
)

// recorder counts numbered messages and checks their order, sender by sender.
// A number is a Go int; everything else is shown.
type recorder struct {
	total   int
	senders map[gen.PID]*record
	order   []gen.PID
	waits   []wait
}

type record struct {
	From      any `json:"from"`
	Count     int `json:"count"`
	First     int `json:"first"`
	Last      int `json:"last"`
	Backwards int `json:"backwards"`
	Gaps      int `json:"gaps"`
}

type wait struct {
	id    json.RawMessage
	count int
}

// waitOver comes when the time of a wait is up.
type waitOver struct{ id string }

func newRecorder() *recorder {
	return &recorder{senders: make(map[gen.PID]*record)}
}

func (r *recorder) message(w *worker, via string, from gen.PID, value any) {
	number, ok := value.(int)
	if !ok {
		w.show("message", via, from, value)
		return
	}
	r.total++
	seen, known := r.senders[from]
	if !known {
		seen = &record{From: body(from), First: number, Last: number - 1}
		r.senders[from] = seen
		r.order = append(r.order, from)
	}
	seen.Count++
	switch {
	case number <= seen.Last:
		seen.Backwards++
	case number > seen.Last+1:
		seen.Gaps++
	}
	seen.Last = max(seen.Last, number)
	if len(r.waits) > 0 {
		r.settle(w)
	}
}

func (r *recorder) request(w *worker, via string, from gen.PID, _ gen.Ref, value any) any {
	w.show("request", via, from, value)
	return nil
}

func (r *recorder) report() fields {
	senders := make([]*record, 0, len(r.order))
	for _, from := range r.order {
		senders = append(senders, r.senders[from])
	}
	return fields{"total": r.total, "senders": senders}
}

func (r *recorder) reset() {
	r.total, r.order = 0, nil
	clear(r.senders)
}

// wait replies once count numbers have come, or fails after the limit.
func (r *recorder) wait(w *worker, id json.RawMessage, count int, limit time.Duration) {
	r.waits = append(r.waits, wait{id, count})
	if _, err := w.SendAfter(w.PID(), waitOver{string(id)}, limit); err != nil {
		w.peer.out.fail(id, err)
		r.waits = r.waits[:len(r.waits)-1]
		return
	}
	r.settle(w)
}

func (r *recorder) settle(w *worker) {
	r.waits = slices.DeleteFunc(r.waits, func(wait wait) bool {
		if r.total < wait.count {
			return false
		}
		w.peer.out.reply(wait.id, r.report())
		return true
	})
}

func (r *recorder) expire(w *worker, over waitOver) {
	r.waits = slices.DeleteFunc(r.waits, func(wait wait) bool {
		if string(wait.id) != over.id {
			return false
		}
		w.peer.out.line(fields{"id": wait.id, "error": gen.ErrTimeout.Error(), "report": r.report()})
		return true
	})
}
