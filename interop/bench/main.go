// Ergo-bench measures Ergo in the shape of postroad's criterion benches and
// prints one JSON object per bench. The remote ones run between two processes
// over loopback, on a static route.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"time"

	"ergo.services/ergo/gen"

	"example.org/postroad/interop/ergonode"
)

const (
	cookie = "bench"
	here   = "here@localhost"
	there  = "there@localhost"
)

func main() {
	serving := flag.Bool("serve", false, "be the other node (the program starts itself so)")
	only := flag.String("run", ".", "benches whose name matches this `expression`")
	runs := flag.Int("runs", 5, "measurements per bench; the median counts")
	limit := flag.Duration("limit", 10*time.Second, "no new measurement of a bench after this time")
	pool := flag.Int("pool", 3, "links between the nodes")
	flag.Parse()
	if err := run(*serving, *only, *runs, *limit, *pool); err != nil {
		fmt.Fprintln(os.Stderr, "ergo-bench:", err)
		os.Exit(1)
	}
}

func run(serving bool, only string, runs int, limit time.Duration, pool int) error {
	if serving {
		return serve(pool)
	}
	chosen, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	stage, err := setUp(pool)
	if err != nil {
		return err
	}
	defer stage.tearDown()

	print(map[string]any{
		"bench": "environment", "framework": stage.node.FrameworkVersion().Release, "go": runtime.Version(),
		"cpus": runtime.GOMAXPROCS(0), "pairs": pairs(), "pool": pool, "runs": runs,
	})
	for _, bench := range benches() {
		if !chosen.MatchString(bench.name) {
			continue
		}
		var measured []measurement
		for start := time.Now(); len(measured) < runs && time.Since(start) < limit; {
			one, err := bench.measure(stage)
			if err != nil {
				return fmt.Errorf("%s: %w", bench.name, err)
			}
			measured = append(measured, one)
		}
		print(bench.summary(measured))
	}
	return nil
}

// print writes a line to stdout.
func print(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

// A bench takes one measurement at a time.
type bench struct {
	name    string
	bytes   int // of payload per message; 0 where that says nothing
	measure func(*stage) (measurement, error)
}

// A measurement is a rate, the durations of calls, or a size.
type measurement struct {
	messages  int
	took      time.Duration
	calls     []time.Duration
	bytesEach int
}

func benches() []bench {
	const kib = 1024
	ints, small, large := 0, make([]byte, kib), make([]byte, 64*kib)
	messages := []bench{
		{"local_send_1_1/int", 0, send(here, 1, 1_000_000, ints)},
		{"local_send_n_n/int", 0, send(here, pairs(), 1_000_000, ints)},
		{"local_call", 0, call(here, 200_000)},
		{"remote_send_1_1/int", 0, send(there, 1, 1_000_000, ints)},
		{"remote_send_1_1/1KiB", len(small), send(there, 1, 300_000, small)},
		{"remote_send_1_1/64KiB", len(large), send(there, 1, 5_000, large)},
		{"remote_send_n_n/int", 0, send(there, pairs(), 500_000, ints)},
		{"remote_send_n_n/1KiB", len(small), send(there, pairs(), 150_000, small)},
		{"remote_send_n_n/64KiB", len(large), send(there, pairs(), 2_500, large)},
		{"remote_call", 0, call(there, 10_000)},
	}
	return slices.Concat(messages, roadBenches(), processBenches())
}

// pairs is the N of the N-N benches.
func pairs() int { return max(2, runtime.GOMAXPROCS(0)) }

func (b bench) summary(measured []measurement) map[string]any {
	if measured[0].calls != nil {
		var all []time.Duration
		for _, one := range measured {
			all = append(all, one.calls...)
		}
		slices.Sort(all)
		return map[string]any{
			"bench": b.name, "calls": len(all),
			"p50_us": quantile(all, 0.5), "p99_us": quantile(all, 0.99), "p999_us": quantile(all, 0.999),
		}
	}
	if measured[0].messages == 0 {
		slices.SortFunc(measured, func(a, b measurement) int { return a.bytesEach - b.bytesEach })
		return map[string]any{"bench": b.name, "count": crowd, "bytes_each": measured[len(measured)/2].bytesEach}
	}
	var rates []float64
	for _, one := range measured {
		rates = append(rates, float64(one.messages)/one.took.Seconds())
	}
	slices.Sort(rates)
	median := rates[len(rates)/2]
	line := map[string]any{
		"bench": b.name, "runs": len(rates), "messages": measured[0].messages,
		"msgs_per_sec": int(median), "min": int(rates[0]), "max": int(rates[len(rates)-1]),
	}
	if b.bytes > 0 {
		line["mb_per_sec"] = int(median * float64(b.bytes) / 1e6)
	}
	return line
}

func quantile(sorted []time.Duration, q float64) float64 {
	at := int(q * float64(len(sorted)-1))
	return float64(sorted[at].Nanoseconds()) / 1e3
}

// A stage is our node, a process on it that acts for us, and the other node.
type stage struct {
	node  *ergonode.Node
	actor gen.PID
	other *exec.Cmd
}

func setUp(pool int) (*stage, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	other := exec.Command(program, "-serve", "-pool", fmt.Sprint(pool))
	other.Stderr = os.Stderr
	out, err := other.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// The other node ends when this pipe does, whatever happens to us.
	if _, err := other.StdinPipe(); err != nil {
		return nil, err
	}
	if err := other.Start(); err != nil {
		return nil, err
	}
	var port uint16
	if _, err := fmt.Fscan(out, &port); err != nil {
		return nil, fmt.Errorf("the other node did not start: %w", err)
	}
	node, err := ergonode.Start(ergonode.Options{Name: here, Cookie: cookie, Hidden: true, LogLevel: gen.LogLevelDisabled})
	if err != nil {
		return nil, err
	}
	if err := populate(node); err != nil {
		return nil, err
	}
	stage := &stage{node: node, other: other}
	err = node.AddRoute("^"+there+"$", gen.NetworkRoute{Route: gen.Route{Host: "127.0.0.1", Port: port}}, 100)
	if err != nil {
		return nil, err
	}
	if _, err := node.Network().GetNode(there); err != nil {
		return nil, err
	}
	for node.Links.Count(there) < pool {
		time.Sleep(time.Millisecond)
	}
	stage.actor, err = node.Spawn(func() gen.ProcessBehavior { return &actor{} }, gen.ProcessOptions{})
	return stage, err
}

func (s *stage) tearDown() {
	s.node.StopForce()
	s.other.Process.Kill()
	s.other.Wait()
}
