// Package attachments is the filter that looks at the parts of a message and into the archives and documents among
// them, tells programs, scripts, macros and their like by content and by name, puts a notice in their place, and has
// messages serialised anew that could be read in several ways. It does not judge text bodies as scripts, and it is no
// virus scanner.
package attachments

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"text/template"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/archive"
)

// The symbols.
const (
	symbolName      = "ATTACHMENT_NAME"
	symbolType      = "ATTACHMENT_TYPE"
	symbolRemoved   = "ATTACHMENT_REMOVED"
	symbolAmbiguous = "MIME_AMBIGUOUS"
	symbolOutside   = "MIME_OUTSIDE"
	symbolSignature = "SIGNATURE_BROKEN"
	symbolDouble    = "DOUBLE_EXTENSION"
	symbolHidden    = "NAME_HIDDEN"
)

// What the configured action already answers weighs nothing: a stripped program does not make the rest
// of the message spam. Deceit does.
var symbols = []filter.Symbol{
	{Name: classSymbols[executable], Description: "A part is a program, a library or an installer, by content or by name, or one is inside of it."},
	{Name: classSymbols[script], Description: "A part is a script, by content or by name, or one is inside of it."},
	{Name: classSymbols[shortcut], Description: "A part is a shortcut, which opens or runs something else, or one is inside of it."},
	{Name: classSymbols[macroAuto], Description: "A document runs or loads code when it is opened."},
	{Name: classSymbols[macro], Description: "A document holds macros."},
	{Name: classSymbols[diskImage], Description: "A part is the image of a disk."},
	{Name: classSymbols[activeHTML], Description: "An HTML or SVG attachment runs script."},
	{Name: classSymbols[activePDF], Description: "A PDF runs script, starts programs or holds files."},
	{Name: classSymbols[partial], Description: "A part is a piece of a message, or a pointer to one that lies elsewhere."},
	{Name: classSymbols[encrypted], Description: "Something in a part can't be read without a password."},
	{Name: classSymbols[sealed], Description: "A part is encrypted for its recipient by S/MIME or OpenPGP."},
	{Name: classSymbols[unreadable], Description: "Something in a part could not be looked at."},
	{Name: classSymbols[bomb], Description: "Looking into a part would take more work than is allowed."},
	{Name: symbolName, Description: "A file name matches a pattern of the configuration's names."},
	{Name: symbolType, Description: "A media type, declared or detected, matches a pattern of the configuration's types."},
	{Name: symbolRemoved, Description: "A part is replaced by a notice."},
	{Name: symbolAmbiguous, Weight: 1, Description: "Programs may read the structure of the message in different ways."},
	{Name: symbolOutside, Weight: 2, Description: "A file is hidden before the first part or behind the last."},
	{Name: symbolSignature, Description: "What was changed was signed."},
	{Name: symbolDouble, Weight: 2, Description: "A dangerous file name ends like a harmless one before its last extension."},
	{Name: symbolHidden, Weight: 2, Description: "A file name conceals its true form from the reader's eye."},
}

var classSymbols = map[class]string{
	executable: "ATTACHMENT_EXECUTABLE", script: "ATTACHMENT_SCRIPT", shortcut: "ATTACHMENT_SHORTCUT",
	macroAuto: "ATTACHMENT_MACRO_AUTO", macro: "ATTACHMENT_MACRO", diskImage: "ATTACHMENT_DISK_IMAGE",
	activeHTML: "ATTACHMENT_ACTIVE_HTML", activePDF: "ATTACHMENT_ACTIVE_PDF", partial: "ATTACHMENT_PARTIAL",
	encrypted: "ATTACHMENT_ENCRYPTED", sealed: "ATTACHMENT_SEALED", unreadable: "ATTACHMENT_UNREADABLE", bomb: "ATTACHMENT_BOMB",
}

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
		limits:     cfg.Archives.limits(""),
		ambiguous:  cfg.Ambiguous,
		keep:       cfg.KeepOriginal,
		gateway:    env.Hostname,
		postmaster: env.Postmaster,
	}
	var err error
	if c.notice, err = loadNotice(cfg.Notice); err != nil {
		return filter.Spec{}, nil, filter.At(err, "notice")
	}
	spec := filter.Spec{
		Name:     env.Name,
		Phases:   filter.In(filter.Data),
		Wants:    []string{string(auth.Waivers)},
		Provides: []string{string(auth.Parts), string(auth.KeepOriginal), string(auth.UnpackLimits)},
		Symbols:  symbols,
	}
	return spec, c, nil
}

// checker is the filter; it is immutable.
type checker struct {
	classes    classRules
	waived     map[class]auth.Waiver // of one message: the classes that pass by a waiver
	names      globs
	types      globs
	limits     archive.Limits
	ambiguous  ambiguity
	keep       bool
	notice     *template.Template
	gateway    string
	postmaster string
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
	waivers, _ := auth.Waivers.From(in)
	c = c.letting(waivers)
	l := c.newLook(ctx, in.Content.Blob().Size())
	exams, err := l.examine(root)
	if err != nil {
		return filter.Result{}, err
	}
	o := outcome{checker: c, exams: exams, header: in.Content.Header()}
	if in.Transaction != nil {
		o.id = in.Transaction.ID
	}
	for _, x := range exams {
		o.report(x)
	}
	if err := o.removeParts(); err != nil {
		return filter.Result{}, err
	}
	o.reasonFirst()
	o.result.Facts = []filter.Fact{auth.Parts.Of(o.parts()), auth.KeepOriginal.Of(c.keep)}
	if all := unpackLimits(l.budget.Reached()); all != nil {
		o.result.Facts = append(o.result.Facts, auth.UnpackLimits.Of(all))
	}
	return o.result, nil
}

// letting gives the filter for a message of which some classes are waived: they pass, as if they were configured so.
// Rules for names and types are not waived, nor is what has several readings.
func (c *checker) letting(waivers []auth.Waiver) *checker {
	if len(waivers) == 0 {
		return c
	}
	own := *c
	own.classes, own.waived = maps.Clone(c.classes), map[class]auth.Waiver{}
	for _, cl := range classes {
		if w, ok := auth.Waived(waivers, auth.WaiveClass(string(cl))); ok && c.classes[cl] > pass {
			own.classes[cl], own.waived[cl] = pass, w
		}
	}
	return &own
}
