package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/mail"
)

// seal gives an index or a head the checksum that it has to have.
func seal(b []byte) {
	if len(b) >= 4 {
		binary.BigEndian.PutUint32(b[len(b)-4:], checksum(b[:len(b)-4]))
	}
}

// sealLine makes a line of a log.
func sealLine(text string) []byte { return fmt.Appendf(nil, "%08x %s\n", checksum([]byte(text)), text) }

// FuzzIndex reads indexes: what is read lies within, and is what is written again.
func FuzzIndex(f *testing.F) {
	for _, x := range []index{
		{size: 200, parts: []part{{"n-1", 100}}},
		{size: 1000, parts: []part{{"a", 200}, {"b", 300}, {"c-00000000000000000a-1", 400}}},
		{size: 50},
	} {
		f.Add(x.append(nil), false)
	}
	f.Add([]byte(indexMagic), true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if !sealed && len(b) >= 16 {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[12:], uint32(len(b)))
			seal(b)
		}
		x, err := parseIndex(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Error(err)
			}
			return
		}
		for _, p := range x.parts {
			if p.off < int64(len(b)) || p.off+headSize > x.size {
				t.Errorf("part %v of %d", p, x.size)
			}
		}
		if again := x.append(nil); !bytes.Equal(again, b) {
			t.Errorf("%q becomes %q", b, again)
		}
	})
}

// FuzzHead reads heads: sizes are in range, and what is read is what is written again.
func FuzzHead(f *testing.F) {
	h := head{record: 100, octets: 2000, original: 1 << 20, recordSum: 1, octetsSum: 2, originalSum: 3}
	f.Add(h.append(nil))
	f.Add([]byte(headMagic))
	f.Add(bytes.Repeat([]byte{0xff}, headSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headSize {
			b = bytes.Clone(b[:headSize])
			copy(b, headMagic)
			clear(b[44:60])
			seal(b)
		}
		h, err := parseHead(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Error(err)
			}
			return
		}
		if h.record < 0 || h.octets < 0 || h.original < 0 || h.size() < 0 || h.size()+h.original < 0 {
			t.Errorf("%+v", h)
		}
		if again := h.append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
	})
}

// FuzzRecord reads records: one that is taken describes messages that can be composed of its octets, of the sizes that it says.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		`{"entry":{"id":"n-1","size":10,"from":"","groups":[{"size":7,"to":[{"address":"a@b"}]}]},"runs":[[[0,3],[10,4]]]}`,
		`{"entry":{"id":"n-1","size":20,"from":"x@y","groups":[{"size":0,"to":[{"address":"a@b"}]},{"size":20,"to":[{"address":"c@d"}]}]},"runs":[[],[[0,20]]]}`,
		`{"entry":{"id":"n-1","size":10,"groups":[{"size":9223372036854775807,"to":[{}]}]},"runs":[[[5,9223372036854775807]]]}`,
		`{"entry":{"id":"n-1","size":10,"groups":[{"size":12,"to":[{}]}]},"runs":[[[-1,12]]]}`,
		`{"entry":{"id":"n-1","size":10,"groups":[{"size":13,"to":[{}]}]},"runs":[[[8,6],[0,7]]]}`,
		`{}`, `null`, `[]`,
	} {
		f.Add([]byte(seed), uint16(20), uint16(0))
		f.Add([]byte(seed), uint16(10), uint16(10))
	}
	f.Fuzz(func(t *testing.T, b []byte, octets, original uint16) {
		h := head{record: int64(len(b)), octets: int64(octets), original: int64(original), recordSum: checksum(b)}
		r, err := parseRecord("n-1", h, b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return
		}
		row := &row{size: h.original, rest: mail.NewBlob(make([]byte, h.octets))}
		if h.original > 0 {
			row.original = mail.NewBlob(make([]byte, h.original))
		}
		defer row.release()
		for i, runs := range r.Runs {
			m, err := row.compose(runs)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, io.LimitReader(m.Open(), 1<<20))
			if err != nil || m.Size() != r.Entry.Groups[i].Size || n != min(m.Size(), 1<<20) {
				t.Errorf("group %d: %d octets of %d, %v", i, n, m.Size(), err)
			}
			m.Release()
		}
		if h.original == 0 {
			if _, err := row.whole(r.Entry.Size); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzLog reads logs of lines that are whole and others: no recipient that is settled is ever unsettled, and what the marks
// came to is the same when it is written anew.
func FuzzLog(f *testing.F) {
	f.Add([]byte(`1 {"group":0,"to":[0],"state":"delivered","tried":true,"time":"2026-05-04T03:02:01Z"}`), []byte("torn"))
	f.Add([]byte(`1 {"group":1,"to":[0,0],"reply":{"Code":450,"Enhanced":[4,2,1],"Text":"x"},"next":"2026-05-04T03:02:01Z","held":true}`), []byte{})
	f.Add([]byte(`1 {"group":0,"attempts":7,"last":"2026-05-04T03:02:01+02:00","to":[1],"cause":"x","warned":true}`), []byte("\n\n\x00"))
	f.Add([]byte(`1 {"group":-1,"to":[9]}`), []byte("00000000 1 {}"))
	f.Add([]byte(`2 {}`), []byte(`1 null`))
	f.Fuzz(func(t *testing.T, text, raw []byte) {
		disk := disk()
		s := openOn(t, disk, Options{})
		defer s.Close()
		x := sampleOf("n-1", 10)
		fresh := func() Entry {
			e := x.entry
			e.Groups = []Group{e.Groups[0], e.Groups[1]}
			for i := range e.Groups {
				e.Groups[i].To = append([]Recipient(nil), e.Groups[i].To...)
			}
			return e
		}
		log := bytes.Join([][]byte{raw, sealLine(string(text)), raw, sealLine(`1 {"group":0,"to":[1],"state":"failed"}`)}, []byte("\n"))
		disk.Put(dir+"/n-1.log", log)
		e := fresh()
		_, err := s.apply("n-1", &e)
		if err != nil {
			if !errors.Is(err, ErrVersion) {
				t.Error(err)
			}
			return
		}
		if e.Groups[0].To[1].State == Waiting {
			t.Errorf("what is settled is not: %+v", e.Groups)
		}
		lines, err := s.summary(&e)
		if err != nil {
			t.Fatal(err)
		}
		disk.Put(dir+"/n-1.log", lines)
		again := fresh()
		if torn, err := s.apply("n-1", &again); err != nil || torn != 0 {
			t.Fatalf("%d torn, %v", torn, err)
		}
		if d := cmp.Diff(e, again, equalEntry); d != "" {
			t.Errorf("-first +again: %s\n%s", d, lines)
		}
	})
}
