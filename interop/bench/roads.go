package main

import (
	"fmt"
	"strings"
	"time"

	"ergo.services/ergo/gen"

	"example.org/postroad/interop/ergonode"
)

const (
	lookups  = 1_000
	connects = 200
	// No single bench of routes takes much longer.
	routesLimit = 5 * time.Second
)

func roadBenches() []bench {
	var all []bench
	for _, size := range []int{10, 1_000, 10_000, 100_000} {
		all = append(all,
			bench{fmt.Sprintf("routes/%d/add", size), 0, addRoutes(size)},
			bench{fmt.Sprintf("routes/%d/lookup_new", size), 0, lookUp(size)},
			bench{fmt.Sprintf("routes/%d/lookup_seen", size), 0, lookUp(size)},
		)
	}
	return append(all,
		bench{"connect/static_route", 0, connect(0)},
		bench{"connect/embedded_registrar", 0, connect(24499)},
	)
}

func routeHost(n int) string { return fmt.Sprintf("host%d.example.com", n%97) }

// withRoutes does something on a node of its own that has so many routes, and
// says how long each of them took to be added.
func withRoutes(size int, do func(*ergonode.Node) ([]time.Duration, error)) (measurement, error) {
	node, err := ergonode.Start(ergonode.Options{Name: "routes@localhost", Cookie: cookie, Hidden: true, LogLevel: gen.LogLevelDisabled})
	if err != nil {
		return measurement{}, err
	}
	defer node.StopForce()
	added := make([]time.Duration, 0, size)
	for n := range size {
		pattern := fmt.Sprintf("^db-%06d@%s$", n, strings.ReplaceAll(routeHost(n), ".", `\.`))
		route := gen.NetworkRoute{Route: gen.Route{Host: "10.0.0.1", Port: 4370}}
		start := time.Now()
		if err := node.AddRoute(pattern, route, 100); err != nil {
			return measurement{}, err
		}
		added = append(added, time.Since(start))
	}
	if do == nil {
		return measurement{calls: added}, nil
	}
	took, err := do(node)
	return measurement{calls: took}, err
}

func addRoutes(size int) func(*stage) (measurement, error) {
	return func(*stage) (measurement, error) { return withRoutes(size, nil) }
}

// lookUp is the same for names that were looked up before and for others: Ergo
// remembers nothing.
func lookUp(size int) func(*stage) (measurement, error) {
	return func(*stage) (measurement, error) {
		return withRoutes(size, func(node *ergonode.Node) ([]time.Duration, error) {
			var took []time.Duration
			for begun, i := time.Now(), 0; i < lookups && time.Since(begun) < routesLimit; i++ {
				n := i * 7919 % size
				name := gen.Atom(fmt.Sprintf("db-%06d@%s", n, routeHost(n)))
				start := time.Now()
				found, err := node.Network().Route(name)
				took = append(took, time.Since(start))
				if err != nil || len(found) != 1 {
					return nil, fmt.Errorf("%d routes for %s: %v", len(found), name, err)
				}
			}
			return took, nil
		})
	}
}

// connect measures how long it takes until two nodes of this program are
// connected: over a static route, or by a registrar on that port.
func connect(registrar uint16) func(*stage) (measurement, error) {
	return func(*stage) (measurement, error) {
		options := ergonode.Options{Cookie: cookie, Pool: 1, RegistrarPort: registrar, LogLevel: gen.LogLevelDisabled}
		options.Name = "b@localhost"
		b, err := ergonode.Start(options)
		if err != nil {
			return measurement{}, err
		}
		defer b.StopForce()
		options.Name = "a@localhost"
		a, err := ergonode.Start(options)
		if err != nil {
			return measurement{}, err
		}
		defer a.StopForce()
		if registrar == 0 {
			route := gen.NetworkRoute{Route: gen.Route{Host: "127.0.0.1", Port: b.Port}}
			if err := a.AddRoute("^b@localhost$", route, 1); err != nil {
				return measurement{}, err
			}
		}
		var took []time.Duration
		for range connects {
			start := time.Now()
			peer, err := a.Network().GetNode(b.Name())
			if err != nil {
				return measurement{}, err
			}
			took = append(took, time.Since(start))
			peer.Disconnect()
			// So that the next dial does not meet the end of this one.
			for connected(a, b) || connected(b, a) {
				time.Sleep(time.Millisecond)
			}
		}
		return measurement{calls: took}, nil
	}
}

func connected(from, to *ergonode.Node) bool {
	_, err := from.Network().Node(to.Name())
	return err == nil
}
