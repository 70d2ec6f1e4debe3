package detection

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// Message is one labelled message of a corpus.
type Message struct {
	Corpus string // the name of its archive
	Source string // who gathered it: the first folder of its path
	Path   string // within the archive
	Spam   bool   // spam or phish
	Octets []byte // as it lies in the archive, or what Strip leaves of it

	// The reverse-path, as StripAll finds it in the Return-Path field of whoever delivered the message last; HasSender is
	// false where there is none that can be read.
	Sender    mail.Address
	HasSender bool
}

// Options tell rules and learners how the message came, as far as is known.
func (m *Message) Options() text.Options {
	return text.Options{From: m.Sender, HasEnvelope: m.HasSender}
}

// Delivered gives the message as it lies in a mailbox, for filters that look at mail there: the reverse-path stands in a
// Return-Path field above the others.
func (m *Message) Delivered() []byte {
	if !m.HasSender {
		return m.Octets
	}
	return append([]byte("Return-Path: <"+m.Sender.String()+">\n"), m.Octets...)
}

// Bounds of an archive: a hostile one costs no more than this.
const (
	maxMessages      = 200_000
	maxMessageOctets = 64 << 20
	maxArchiveOctets = 2 << 30
)

// ReadArchive reads a corpus of two files: FILE.tar.gz, whose path is given, and beside it the manifest FILE.tsv with
// the columns path, label (ham or spam), bytes, date, sha256. A message that the manifest does not name, or that is not
// what it says, is an error, and so is one that is missing. Messages come in the order of their paths.
func ReadArchive(path string) ([]Message, error) {
	base, ok := strings.CutSuffix(path, ".tar.gz")
	if !ok {
		return nil, fmt.Errorf("detection: %s is no .tar.gz", path)
	}
	rows, err := readManifest(base + ".tsv")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("detection: %w", err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("detection: %s: %w", path, err)
	}
	all, err := readTar(tar.NewReader(io.LimitReader(packed, maxArchiveOctets)), filepath.Base(base), rows)
	if err != nil {
		return nil, fmt.Errorf("detection: %s: %w", path, err)
	}
	return all, nil
}

// entry is a row of a manifest.
type entry struct {
	spam bool
	sum  string
	seen bool
}

func readManifest(path string) (map[string]*entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("detection: %w", err)
	}
	defer f.Close()
	rows := map[string]*entry{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan() && len(rows) < maxMessages; n++ {
		cells := strings.Split(lines.Text(), "\t")
		if n == 1 && cells[0] == "path" {
			continue
		}
		if len(cells) != 5 || cells[1] != "ham" && cells[1] != "spam" {
			return nil, fmt.Errorf("detection: %s:%d: not path, ham or spam, bytes, date, sha256", path, n)
		}
		rows[cells[0]] = &entry{spam: cells[1] == "spam", sum: cells[4]}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("detection: %s: %w", path, err)
	}
	return rows, nil
}

func readTar(r *tar.Reader, corpus string, rows map[string]*entry) ([]Message, error) {
	var all []Message
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".eml") {
			continue // a folder, or the corpus's own notes
		}
		row := rows[h.Name]
		switch {
		case row == nil:
			return nil, fmt.Errorf("%s is not in the manifest", h.Name)
		case row.seen:
			return nil, fmt.Errorf("%s is there twice", h.Name)
		case h.Size > maxMessageOctets:
			return nil, fmt.Errorf("%s has %d octets", h.Name, h.Size)
		}
		row.seen = true
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != row.sum {
			return nil, fmt.Errorf("%s is not what the manifest says", h.Name)
		}
		source, _, _ := strings.Cut(h.Name, "/")
		all = append(all, Message{Corpus: corpus, Source: source, Path: h.Name, Spam: row.spam, Octets: b})
	}
	if len(all) != len(rows) {
		return nil, fmt.Errorf("%d messages, %d in the manifest", len(all), len(rows))
	}
	slices.SortFunc(all, func(a, b Message) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// ReadArchives reads every corpus in a folder, in the order of their names, and takes away what StripAll does.
func ReadArchives(dir string) ([]Message, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil {
		return nil, fmt.Errorf("detection: %w", err)
	}
	slices.Sort(files)
	var all []Message
	for _, f := range files {
		some, err := ReadArchive(f)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	StripAll(all)
	return all, nil
}
