package main

import (
	"fmt"
	"reflect"

	"ergo.services/ergo/gen"
)

// An application has one process, a hatchling.
type application struct{ name gen.Atom }

func (a *application) Load(gen.Node, ...any) (gen.ApplicationSpec, error) {
	spec := gen.ApplicationSpec{
		Name:        a.name,
		Description: "what Go runs",
		Version:     gen.Version{Name: string(a.name), Release: "R7"},
		Group:       []gen.ApplicationMemberSpec{{Factory: hatch, Name: a.name + "_worker"}},
		Mode:        gen.ApplicationModeTemporary,
		Weight:      3,
	}
	set(&spec, "Tags", []gen.Atom{"blue", "eu"})
	set(&spec, "Map", map[string]gen.Atom{"till": a.name + "_worker"})
	return spec, nil
}

// set sets a field that not every release has: tags and map came with 3.2.0.
func set(spec *gen.ApplicationSpec, field string, value any) {
	if field := reflect.ValueOf(spec).Elem().FieldByName(field); field.IsValid() {
		field.Set(reflect.ValueOf(value))
	}
}

// get is nil where the release does not have the field.
func get(info gen.ApplicationInfo, field string) any {
	if field := reflect.ValueOf(info).FieldByName(field); field.IsValid() {
		return field.Interface()
	}
	return nil
}

func (a *application) Start(gen.ApplicationMode) {}

func (a *application) Terminate(error) {}

func (p *peer) loadApplication(c command) error {
	if _, err := p.node.ApplicationLoad(&application{c.Name}); err != nil {
		return err
	}
	return p.node.Network().EnableApplicationStart(c.Name, c.Nodes...)
}

func (p *peer) startApplication(c command) error {
	remote, err := p.node.Network().GetNode(c.Node)
	if err != nil {
		return err
	}
	var start func(gen.Atom, gen.ApplicationOptions) error
	switch c.Mode {
	case "":
		start = remote.ApplicationStart
	case "temporary":
		start = remote.ApplicationStartTemporary
	case "transient":
		start = remote.ApplicationStartTransient
	case "permanent":
		start = remote.ApplicationStartPermanent
	default:
		return fmt.Errorf("mode is temporary, transient or permanent, not %q", c.Mode)
	}
	env, err := environment(c)
	if err != nil {
		return err
	}
	return start(c.Name, gen.ApplicationOptions{Env: env})
}

// An applicationTeller describes its applications: any other node, since 3.2.0.
type applicationTeller interface {
	ApplicationInfo(name gen.Atom) (gen.ApplicationInfo, error)
}

// applicationInfo is of an application here, unless another node is named.
func (p *peer) applicationInfo(c command) (any, error) {
	teller := applicationTeller(p.node)
	if c.Node != "" {
		remote, err := p.node.Network().GetNode(c.Node)
		if err != nil {
			return nil, err
		}
		var ok bool
		if teller, ok = remote.(applicationTeller); !ok {
			return nil, gen.ErrUnsupported
		}
	}
	info, err := teller.ApplicationInfo(c.Name)
	group := []any{}
	for _, pid := range info.Group {
		group = append(group, body(pid))
	}
	return fields{
		"name": info.Name, "weight": info.Weight, "description": info.Description, "version": info.Version,
		"depends": info.Depends.Applications, "mode": info.Mode.String(), "state": info.State.String(),
		"parent": info.Parent, "group": group, "tags": get(info, "Tags"), "map": get(info, "Map"),
	}, err
}
