// Package attachments is the filter that looks at the parts of a message, tells programs, scripts and
// shortcuts by content and by name, and puts a notice in their place; it does not look inside archives and
// documents, it does not judge text bodies as scripts, and it is no virus scanner.
package attachments

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"text/template"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// The symbols.
const (
	symbolExecutable = "ATTACHMENT_EXECUTABLE"
	symbolScript     = "ATTACHMENT_SCRIPT"
	symbolShortcut   = "ATTACHMENT_SHORTCUT"
	symbolName       = "ATTACHMENT_NAME"
	symbolType       = "ATTACHMENT_TYPE"
	symbolRemoved    = "ATTACHMENT_REMOVED"
	symbolUnreadable = "ATTACHMENT_UNREADABLE"
	symbolDouble     = "DOUBLE_EXTENSION"
	symbolHidden     = "NAME_HIDDEN"
)

// What the configured action already answers weighs nothing: a stripped program does not make the rest
// of the message spam. Deceit does.
var symbols = []filter.Symbol{
	{Name: symbolExecutable, Description: "A part is a program, a library or an installer, by content or by name."},
	{Name: symbolScript, Description: "A part is a script, by content or by name."},
	{Name: symbolShortcut, Description: "A part is a shortcut, which opens or runs something else."},
	{Name: symbolName, Description: "A file name matches a pattern of the configuration's names."},
	{Name: symbolType, Description: "A media type, declared or detected, matches a pattern of the configuration's types."},
	{Name: symbolRemoved, Description: "A part is replaced by a notice."},
	{Name: symbolUnreadable, Description: "The message has more headers, parts or levels than are looked at, or a multipart whose parts were not found."},
	{Name: symbolDouble, Weight: 2, Description: "A dangerous file name ends like a harmless one before its last extension."},
	{Name: symbolHidden, Weight: 2, Description: "A file name conceals its true form from the reader's eye."},
}

var classSymbols = map[class]string{executable: symbolExecutable, script: symbolScript, shortcut: symbolShortcut}

// Factory makes filters of this kind.
var Factory = filter.Factory{Kind: "attachments", New: newFilter}

func newFilter(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg := defaults()
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	c := &checker{
		classes:    cfg.Classes,
		names:      cfg.Names.compile(),
		types:      cfg.Types.compile(),
		keep:       cfg.KeepOriginal,
		gateway:    env.Hostname,
		postmaster: env.Postmaster,
	}
	c.buffers.New = func() any { return new([2 * headSize]byte) }
	var err error
	if c.notice, err = loadNotice(cfg.Notice); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name:     env.Name,
		Phases:   filter.In(filter.Data),
		Provides: []string{string(auth.Parts), string(auth.KeepOriginal)},
		Symbols:  symbols,
	}
	return spec, c, nil
}

// checker is the filter; it is immutable but for its buffers.
type checker struct {
	classes    classRules
	names      globs
	types      globs
	keep       bool
	notice     *template.Template
	gateway    string
	postmaster string
	buffers    sync.Pool // of *[2*headSize]byte: the head of a part, and a block of its rest
}

// Check examines every part of the content. An error means that the content could not be read.
func (c *checker) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Content == nil {
		return filter.Result{}, errors.New("attachments: no content in this phase")
	}
	root := in.Content.Root()
	if err := in.Content.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("attachments: %w", err)
	}
	exams, err := c.examine(ctx, root, 0)
	if err != nil {
		return filter.Result{}, err
	}
	o := outcome{checker: c, exams: exams}
	if in.Transaction != nil {
		o.id = in.Transaction.ID
	}
	for _, x := range exams {
		o.report(x)
		o.reportUnseen(x)
	}
	if err := o.removeParts(); err != nil {
		return filter.Result{}, err
	}
	o.result.Facts = []filter.Fact{auth.Parts.Of(o.parts()), auth.KeepOriginal.Of(c.keep)}
	return o.result, nil
}
