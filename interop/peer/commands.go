package main

import (
	"fmt"
	"os"
	"sync"

	"ergo.services/ergo/gen"

	"example.org/postroad/interop/ergonode"
	"example.org/postroad/interop/typed"
	"example.org/postroad/interop/types"
)

type peer struct {
	node *ergonode.Node
	host string
	out  *output

	mutex   sync.Mutex
	workers map[gen.Atom]*worker
	spawned int
}

func (p *peer) description() fields {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	processes := fields{}
	for name, worker := range p.workers {
		processes[string(name)] = worker.addresses()
	}
	return fields{
		"name": p.node.Name(), "host": p.host, "port": p.node.Port,
		"creation": fmt.Sprint(p.node.Creation()), "os_pid": os.Getpid(),
		"framework": p.node.FrameworkVersion().Release, "processes": processes,
	}
}

// run carries out a command and replies, at once or when it is done. Commands
// that may wait for the network run beside this, in a process or a goroutine.
func (p *peer) run(c command) {
	network := p.node.Network()
	switch c.Cmd {
	case "add_route":
		p.answer(c, true, p.addRoute(c))
	case "remove_route":
		p.answer(c, true, network.RemoveRoute(c.Pattern))
	case "connect":
		go func() {
			remote, err := network.GetNode(c.Node)
			p.answerRemote(c, remote, err)
		}()
	case "node_info":
		remote, err := network.Node(c.Node)
		p.answerRemote(c, remote, err)
	case "disconnect":
		remote, err := network.Node(c.Node)
		if err == nil {
			remote.Disconnect()
		}
		p.answer(c, true, err)
	case "nodes":
		p.out.reply(c.ID, append([]gen.Atom{}, network.Nodes()...))
	case "kill_link":
		open, err := p.node.Links.Kill(c.Node, c.Link)
		p.answer(c, open, err)
	case "remote_spawn":
		go func() {
			pid, err := spawnOn(p, nil, c)
			p.answer(c, pid, err)
		}()
	case "enable_spawn":
		p.answer(c, true, network.EnableSpawn(c.Name, hatch, c.Nodes...))
	case "disable_spawn":
		p.answer(c, true, network.DisableSpawn(c.Name, c.Nodes...))
	case "load_application":
		p.answer(c, true, p.loadApplication(c))
	case "start_application":
		go func() { p.answer(c, true, p.startApplication(c)) }()
	case "application_info":
		go func() {
			info, err := p.applicationInfo(c)
			p.answer(c, info, err)
		}()
	case "resolve":
		go func() {
			routes, err := p.resolve(c.Name)
			p.answer(c, routes, err)
		}()
	case "samples":
		p.out.reply(c.ID, samples())
	case "spawn":
		worker, err := p.spawn(c.Kind, c.Name, gen.ProcessOptions{MailboxSize: c.Mailbox})
		if err != nil {
			p.out.fail(c.ID, err)
			return
		}
		p.out.reply(c.ID, worker.addresses())
	case "kill":
		p.answer(c, true, p.kill(c.Process))
	case "send_many":
		if err := p.sendMany(c); err != nil {
			p.out.fail(c.ID, err)
		}
	default:
		if err := p.delegate(c); err != nil {
			p.out.fail(c.ID, err)
		}
	}
}

func (p *peer) answer(c command, ok any, err error) {
	if err != nil {
		p.out.fail(c.ID, err)
		return
	}
	p.out.reply(c.ID, ok)
}

func (p *peer) answerRemote(c command, remote gen.RemoteNode, err error) {
	if err != nil {
		p.out.fail(c.ID, err)
		return
	}
	info := remote.Info()
	p.out.reply(c.ID, fields{
		"name": info.Node, "creation": fmt.Sprint(remote.Creation()), "version": info.Version, "flags": info.NetworkFlags,
		"pool_size": info.PoolSize, "pool_dsn": info.PoolDSN, "max_message_size": info.MaxMessageSize,
		"links": p.node.Links.Count(info.Node), "messages_in": info.MessagesIn, "messages_out": info.MessagesOut,
		"bytes_in": info.BytesIn, "bytes_out": info.BytesOut,
	})
}

func (p *peer) addRoute(c command) error {
	route := gen.NetworkRoute{
		Route:  gen.Route{Host: c.Host, Port: c.Port, TLS: c.TLS},
		Cookie: c.Cookie,
	}
	switch c.Flags {
	case "", "default":
	case "none":
		route.Flags = ergonode.Flags(true)
	default:
		return fmt.Errorf("flags is default or none, not %q", c.Flags)
	}
	if c.Resolver {
		registrar, err := p.node.Network().Registrar()
		if err != nil {
			return err
		}
		route.Resolver = registrar.Resolver()
	}
	return p.node.AddRoute(c.Pattern, route, c.Weight)
}

func (p *peer) resolve(name gen.Atom) ([]fields, error) {
	registrar, err := p.node.Network().Registrar()
	if err != nil {
		return nil, err
	}
	routes, err := registrar.Resolver().Resolve(name)
	found := make([]fields, len(routes))
	for i, route := range routes {
		found[i] = fields{"host": route.Host, "port": route.Port, "tls": route.TLS}
	}
	return found, err
}

type namedValue struct {
	Name string `json:"name"`
	typed.Value
}

func samples() []namedValue {
	var all []namedValue
	for _, sample := range types.Samples() {
		all = append(all, namedValue{sample.Name, style.Encode(sample.Value).(typed.Value)})
	}
	return all
}

// spawn starts a worker and waits until it has its alias, which a process can
// make only once it runs.
func (p *peer) spawn(kind string, name gen.Atom, options gen.ProcessOptions) (*worker, error) {
	role, ok := newRole(kind)
	if !ok {
		return nil, fmt.Errorf("no such kind of process: %q", kind)
	}
	p.mutex.Lock()
	if name == "" {
		p.spawned++
		name = gen.Atom(fmt.Sprintf("%s-%d", kind, p.spawned))
	}
	p.mutex.Unlock()

	started := &worker{peer: p, name: name, role: role}
	pid, err := p.node.SpawnRegister(name, func() gen.ProcessBehavior { return started }, options)
	if err != nil {
		return nil, err
	}
	aliased := make(chan error, 1)
	err = p.node.Send(pid, job(func(w *worker) {
		alias, err := w.CreateAlias()
		w.alias = alias
		aliased <- err
	}))
	if err != nil {
		return nil, err
	}
	if err := <-aliased; err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.workers[name] = started
	return started, nil
}

func (p *peer) worker(name gen.Atom) (*worker, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	known, ok := p.workers[name]
	if !ok {
		return nil, fmt.Errorf("no process is called %q", string(name))
	}
	return known, nil
}

// kill ends a process, whatever it is doing.
func (p *peer) kill(name gen.Atom) error {
	killed, err := p.worker(name)
	if err != nil {
		return err
	}
	p.forget(name)
	return p.node.Kill(killed.PID())
}

func (p *peer) forget(name gen.Atom) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.workers, name)
}

func (w *worker) addresses() fields {
	return fields{"pid": body(w.PID()), "alias": body(w.alias)}
}

func (p *peer) sendMany(c command) error {
	to, err := p.target(c.To)
	if err != nil {
		return err
	}
	senders := max(c.Senders, 1)
	pids := make([]any, 0, senders)
	everyoneIs := make(chan struct{})
	plan := newPlan(to, c, senders, func(done *plan) {
		<-everyoneIs
		p.out.reply(c.ID, fields{"sent": done.sent, "errors": done.errors, "senders": pids})
	})
	defer close(everyoneIs)
	for range senders {
		pid, err := p.node.Spawn(func() gen.ProcessBehavior { return &burst{plan: plan} }, gen.ProcessOptions{})
		if err != nil {
			return err
		}
		pids = append(pids, body(pid))
	}
	return nil
}
