package tnef

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/mapi"
)

func attribute(level byte, id uint32, data string) string {
	out := binary.LittleEndian.AppendUint32([]byte{level}, id)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	sum := uint16(0)
	for i := range len(data) {
		sum += uint16(data[i])
	}
	return string(out) + data + string(binary.LittleEndian.AppendUint16(nil, sum))
}

func u32(n ...uint32) string {
	var out []byte
	for _, v := range n {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return string(out)
}

func padded(s string) string { return s + strings.Repeat("\x00", -len(s)&3) }

func property(id, kind uint32, value string) string {
	return u32(id<<16|kind, 1, uint32(len(value))) + padded(value)
}

func wide(s string) string {
	var out []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return string(out)
}

const (
	start = magic + "\x01\x00"
	rend  = 0x00069002
	title = 0x00018010
	data  = 0x0006800f
	props = 0x00069005
	msg   = 0x00069003
)

type recorder struct {
	got []string
	err error
}

func (r *recorder) File(e *archive.Entry) error {
	content := "none"
	if e.File != nil {
		b, _, _ := e.File.Bytes(1 << 20)
		content = string(b)
	}
	r.got = append(r.got, fmt.Sprintf("%s|%s|%s|%s", strings.Join(e.Names, ","), e.Type, e.Link, content))
	return r.err
}

func (r *recorder) Sign(s archive.Sign) error {
	r.got = append(r.got, s.String())
	return r.err
}

func TestWalk(t *testing.T) {
	rendering := attribute(2, rend, strings.Repeat("\x00", 14))
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"none", start, nil},
		{"no tnef", "x", []string{"unreadable: tnef: it is no TNEF"}},
		{"old", rendering + attribute(2, title, "a.exe\x00") + attribute(2, data, "MZ"), []string{"a.exe|||MZ"}},
		{"two", rendering + attribute(2, data, "1") + attribute(2, title, "a") + rendering + attribute(2, title, "b") + attribute(2, data, "2"), []string{"a|||1", "b|||2"}},
		{"without rendering", attribute(2, title, "a") + attribute(2, data, "1"), []string{"a|||1"}},
		{"no content", rendering, []string{"|||none"}},
		{"8-bit name", rendering + attribute(2, title, "\xe4") + attribute(2, data, "1"), []string{"ä,Σ|||1"}},
		{"code page", attribute(1, 0x00069007, u32(1251, 0)) + rendering + attribute(2, title, "\xe4") + attribute(2, data, "1"), []string{"д,ä,Σ|||1"}},
		{
			"properties", rendering + attribute(2, title, "A~1.EXE") + attribute(2, data, "") +
				attribute(2, props, u32(5, 0x37050003, 1, 0x80010003)+strings.Repeat("g", 16)+u32(1, 5)+padded("abcde")+u32(7)+
					property(mapi.AttachLongName, mapi.TypeUnicode, wide("a b.exe"))+property(mapi.AttachMIMETag, mapi.TypeString8, "x/y\x00")+
					property(mapi.AttachData, mapi.TypeBinary, "MZP")),
			[]string{"a b.exe,A~1.EXE|x/y||MZP"},
		},
		{"both contents", rendering + attribute(2, data, "1") + attribute(2, props, u32(1)+property(mapi.AttachData, mapi.TypeBinary, "2")), []string{"|||1", "|||2"}},
		{"message", rendering + attribute(2, props, u32(1)+property(mapi.AttachData, mapi.TypeObject, mapi.IMessage+start)), []string{"|application/ms-tnef||" + start}},
		{"storage", rendering + attribute(2, props, u32(1)+property(mapi.AttachData, mapi.TypeObject, mapi.IStorage+"x")), []string{"|||x"}},
		{"reference", rendering + attribute(2, props, u32(2, 0x37050003, 4)+property(mapi.AttachLongPath, mapi.TypeString8, `\\s\x.exe`)), []string{`\\s\x.exe||\\s\x.exe|none`}},
		{
			"bodies", attribute(1, 0x0002800c, "old") + attribute(1, msg, u32(2)+property(mapi.HTML, mapi.TypeBinary, "<p>")+property(mapi.Body, mapi.TypeUnicode, "\xfc\x00")),
			[]string{"|text/plain||old", "|text/html||<p>", "|text/plain||ü"},
		},
		{"bad rtf", attribute(1, msg, u32(1)+property(mapi.RTF, mapi.TypeBinary, "x")), []string{"|text/rtf||", "unreadable: a file without a name: the rich text ends early"}},
		{"cut", rendering + attribute(2, title, "a") + attribute(2, data, "12345")[:12], []string{"unreadable: tnef: an attribute of 5 octets ends after 3", "a|||123"}},
		{"checksum", rendering + strings.Replace(attribute(2, data, "12345"), "3", "4", 1), []string{"|||12445", "unreadable: tnef: the checksums of 1 attributes are wrong"}},
		{"garbage", rendering + attribute(2, data, "1") + "what is this", []string{"unreadable: tnef: 12 octets behind the last attribute can't be read", "|||1"}},
		{"zeros", attribute(2, data, "1") + "\x00\x00\r\n", []string{"|||1"}},
		{"unknown type", attribute(2, data, "1") + attribute(2, props, u32(1, 0x37050099)), []string{"unreadable: tnef: a property of the unknown type 0x0099; what follows it can't be read", "|||1"}},
		{"cut properties", attribute(2, data, "1") + attribute(2, props, u32(9)), []string{"unreadable: tnef: its properties end early", "|||1"}},
	} {
		in := c.in
		if c.name != "no tnef" && c.name != "none" {
			in = start + in
		}
		var r recorder
		if err := Walk(context.Background(), archive.NewFile([]byte(in)), archive.NewBudget(archive.Limits{}, 1), &r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, r.got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

func TestWalkLimits(t *testing.T) {
	in := []byte(start + strings.Repeat(attribute(2, rend, "")+attribute(2, data, "12"), 30))
	for _, l := range []archive.Limits{{Files: 3}, {Octets: 6}} {
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(l, 1), &r); err != nil {
			t.Fatal(err)
		}
		if last := r.got[len(r.got)-1]; len(r.got) > 5 || !strings.HasPrefix(last, "bomb: ") {
			t.Error(r.got)
		}
	}
	mine := errors.New("mine")
	if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &recorder{err: mine}); err != mine {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &recorder{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add([]byte(start + attribute(2, rend, "") + attribute(2, title, "a") + attribute(2, data, "MZ") + attribute(2, props,
		u32(3)+property(mapi.AttachData, mapi.TypeObject, mapi.IMessage+start)+property(mapi.AttachLongName, mapi.TypeUnicode, wide("x"))+
			u32(0x80010003)+strings.Repeat("g", 16)+u32(1, 5)+padded("abcde")+u32(7))))
	f.Add([]byte(start + attribute(1, msg, u32(2)+property(mapi.RTF, mapi.TypeBinary, "x")+property(mapi.Body, mapi.TypeUnicode, "x\x00"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		in = append([]byte(start), bytes.TrimPrefix(in, []byte(start))...)
		b := archive.NewBudget(archive.Limits{Octets: 1 << 20, Files: 50}, int64(len(in)))
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), b, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.got) > 50+17 {
			t.Fatal(len(r.got))
		}
	})
}
