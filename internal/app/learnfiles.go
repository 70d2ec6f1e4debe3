package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/internal/mailbox"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// LearnExport writes all that was taught to a file, "-" for standard output; the file is there whole or not at all. What stands at the
// name and is no file, as a pipe or a device, is written to.
func (a *App) LearnExport(ctx context.Context, path string) error {
	return a.withTeacher(ctx, func(_ *config.Config, t teacher) error {
		if path == "-" {
			return t.export(ctx, faultWriter{a.o.Stdout})
		}
		if to, err := filepath.EvalSymlinks(path); err == nil {
			path = to // the link stays
		}
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return &writeError{err: err}
			}
			err = t.export(ctx, faultWriter{f})
			return errors.Join(err, wrapWrite(f.Close()))
		}
		// A name of its own: what an export has left behind that was killed stands in no other's way.
		f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new")
		if err != nil {
			return &writeError{err: err}
		}
		err = t.export(ctx, faultWriter{f})
		write := errors.Join(f.Sync(), f.Close())
		if err == nil && write == nil {
			write = os.Rename(f.Name(), path)
		}
		if err != nil || write != nil {
			_ = os.Remove(f.Name())
		}
		if err == nil && write != nil {
			return &writeError{err: write}
		}
		return err
	})
}

// faultWriter tells faults of writing from others.
type faultWriter struct{ w io.Writer }

func (f faultWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		err = &writeError{err: err}
	}
	return n, err
}

// LearnImport learns what another gateway has exported; "-" is standard input. A file that is not whole teaches nothing.
func (a *App) LearnImport(ctx context.Context, path string) error {
	in, closeIn, err := a.openInput(path)
	if err != nil {
		return exit(ExitData, "%v", err)
	}
	defer func() { _ = closeIn() }()
	var all []learner.Lesson
	if err := learner.Import(io.LimitReader(in, maxImport), func(l learner.Lesson) error { all = append(all, l); return nil }); err != nil {
		code := ExitData
		if errors.Is(err, learner.ErrVersion) {
			code = ExitConfig
		}
		return exit(code, "%s: %v", visible(path), err)
	}
	return a.withTeacher(ctx, func(_ *config.Config, t teacher) error {
		o, err := t.teach(ctx, all)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.o.Stdout, "%d lessons read: %d learned, %d corrected, %d known already%s\n",
			len(all), o.Learned, o.Corrected, o.Known+o.Kept, room(o))
		return err
	})
}

// maxImport bounds an import, in octets: twice what a store with the most samples exports.
const maxImport = 2 << 30

// oneMessage reads a source that is one message: "-" is standard input.
func (a *App) oneMessage(path string) (octets []byte, err error) {
	n := 0
	take := func(m mailbox.Message) error {
		if n++; n > 1 {
			return fmt.Errorf("%s holds more than one message", path)
		}
		octets = m.Octets
		return nil
	}
	if path == "-" {
		err = mailbox.ReadFrom(a.o.Stdin, path, take, nil)
	} else {
		err = mailbox.Read(path, take, nil)
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("%s holds no message", path)
	}
	return octets, err
}

// LearnExplain prints what the learner says of a message, and why.
func (a *App) LearnExplain(ctx context.Context, path string) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	reader, err := a.sampleReader(ctx, cfg)
	if err != nil {
		return err
	}
	octets, err := a.oneMessage(path)
	if err != nil {
		return exit(ExitData, "%v", err)
	}
	content := reader.content(octets)
	if content == nil {
		return exit(ExitData, "%s: can't be read", visible(path))
	}
	defer content.Release()
	bare, err := reader.marks.bare(content) // as the filter has it
	if err != nil && !errors.Is(err, mail.ErrEdit) {
		return exit(ExitData, "%v", err)
	}
	if bare != nil {
		defer bare.Release()
		content = bare
	}
	m, hits := text.Of(content, text.Options{}), reader.hits(ctx, content)
	s := learner.FromMessage(m, hits)
	if err := content.Err(); err != nil {
		return exit(ExitData, "%v", err)
	}
	return a.withTeacher(ctx, func(_ *config.Config, t teacher) error {
		w, err := t.weigh(ctx, s)
		if err != nil {
			return err
		}
		note := ""
		if !w.Ready {
			note = " (too little was learned: the filter says nothing)"
		}
		fmt.Fprintf(a.o.Stdout, "spam with a probability of %.4f%s\n", learner.Probability(w.Odds), note)
		if reader.rules != nil {
			fmt.Fprintln(a.o.Stdout, "but for what rules find of the client, and in the DNS, when a message comes")
		}
		const most = 20
		out := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
		n := map[bool]int{}
		for _, r := range learner.Words(m, hits, w.Shares) {
			if n[r.Weight > 0]++; n[r.Weight > 0] <= most {
				fmt.Fprintf(out, "%+.3f\t%s\n", r.Weight, visible(r.Text))
			}
		}
		return out.Flush()
	})
}
