// Ergo-etcd-peer is one real Ergo node in a cluster that Ergo's etcd registrar
// keeps. It prints what the registrar tells, and answers commands, as JSON lines:
// interop/README.md.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"

	"ergo.services/ergo/act"
	"ergo.services/ergo/gen"
	"ergo.services/registrar/etcd"

	"example.org/postroad/interop/ergonode"
)

type fields map[string]any

var output sync.Mutex

// say writes one line.
func say(line fields) {
	output.Lock()
	defer output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		os.Exit(1)
	}
}

func main() {
	if err := run(); err != nil {
		say(fields{"event": "failed", "error": err.Error()})
		os.Exit(1)
	}
}

func run() error {
	name := flag.String("name", "", "node `name`, like a@127.0.0.1")
	cookie := flag.String("cookie", "", "cookie of the node")
	endpoints := flag.String("etcd", "", "endpoints, separated by commas")
	cluster := flag.String("cluster", "default", "the cluster's name")
	flag.Parse()

	registrar, err := etcd.Create(etcd.Options{
		Cluster:   *cluster,
		Endpoints: strings.Split(*endpoints, ","),
	})
	if err != nil {
		return err
	}
	node, err := ergonode.Start(ergonode.Options{
		Name:      *name,
		Cookie:    *cookie,
		Registrar: registrar,
		LogLevel:  gen.LogLevelError,
	})
	if err != nil {
		return err
	}
	if _, err := node.Spawn(func() gen.ProcessBehavior { return &listener{registrar: registrar} }, gen.ProcessOptions{}); err != nil {
		return err
	}
	if _, err := node.ApplicationLoad(&application{}); err != nil {
		return err
	}
	say(fields{"event": "ready", "port": node.Port})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		ok, err := c.carryOut(node, registrar)
		if err != nil {
			say(fields{"reply": c.Cmd, "error": err.Error()})
		} else {
			say(fields{"reply": c.Cmd, "ok": ok})
		}
	}
	node.Stop()
	node.Wait()
	return lines.Err()
}

type command struct {
	Cmd  string `json:"cmd"`
	Name string `json:"name"`
}

func (c command) carryOut(node *ergonode.Node, registrar gen.Registrar) (any, error) {
	switch c.Cmd {
	case "nodes":
		return registrar.Nodes()
	case "connect":
		remote, err := node.Network().GetNode(gen.Atom(c.Name))
		if err != nil {
			return nil, err
		}
		return remote.Name(), nil
	case "config":
		return registrar.ConfigItem(c.Name)
	case "resolve_application":
		routes, err := registrar.Resolver().ResolveApplication(gen.Atom(c.Name))
		if err != nil {
			return nil, err
		}
		found := []fields{}
		for _, route := range routes {
			found = append(found, fields{
				"node": route.Node, "weight": route.Weight, "tags": route.Tags, "mode": route.Mode.String(), "state": route.State.String(),
			})
		}
		return found, nil
	case "start_application":
		return true, node.ApplicationStart(gen.Atom(c.Name), gen.ApplicationOptions{})
	case "stop_application":
		return true, node.ApplicationStop(gen.Atom(c.Name))
	}
	return nil, fmt.Errorf("no such command")
}

// listener prints what the registrar tells.
type listener struct {
	act.Actor
	registrar gen.Registrar
}

func (l *listener) Init(...any) error {
	// The event cannot be watched before the process runs.
	return l.Send(l.PID(), "begin")
}

func (l *listener) HandleMessage(_ gen.PID, message any) error {
	if message != "begin" {
		return nil
	}
	event, err := l.registrar.Event()
	if err != nil {
		return err
	}
	if _, err = l.MonitorEvent(event); err != nil {
		return err
	}
	say(fields{"event": "listening"})
	return nil
}

func (l *listener) HandleEvent(message gen.MessageEvent) error {
	switch told := message.Message.(type) {
	case etcd.EventNodeJoined:
		say(fields{"event": "joined", "node": told.Name})
	case etcd.EventNodeLeft:
		say(fields{"event": "left", "node": told.Name})
	case etcd.EventConfigUpdate:
		say(fields{"event": "config", "item": told.Item, "value": told.Value})
	case etcd.EventApplicationLoaded:
		say(fields{"event": "loaded", "name": told.Name, "node": told.Node, "weight": told.Weight})
	case etcd.EventApplicationStarted:
		say(fields{
			"event": "started", "name": told.Name, "node": told.Node, "weight": told.Weight, "mode": told.Mode.String(),
		})
	case etcd.EventApplicationStopping:
		say(fields{"event": "stopping", "name": told.Name, "node": told.Node})
	case etcd.EventApplicationStopped:
		say(fields{"event": "stopped", "name": told.Name, "node": told.Node})
	case etcd.EventApplicationUnloaded:
		say(fields{"event": "unloaded", "name": told.Name, "node": told.Node})
	}
	return nil
}

// application is one that does nothing, and goes on doing it.
type application struct{}

func (*application) Load(gen.Node, ...any) (gen.ApplicationSpec, error) {
	return gen.ApplicationSpec{
		Name:   "shop",
		Weight: 30,
		Tags:   []gen.Atom{"blue", "eu"},
		Mode:   gen.ApplicationModeTemporary,
		Group:  []gen.ApplicationMemberSpec{{Factory: func() gen.ProcessBehavior { return &idle{} }, Name: "shop_worker"}},
	}, nil
}

func (*application) Start(gen.ApplicationMode) {}
func (*application) Terminate(error)           {}

type idle struct{ act.Actor }
