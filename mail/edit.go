package mail

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Edit is a change to a content, as data: filters propose edits, Rewrite carries them out. The edits are
// AddField, RemoveField, ReplaceField, RemovePart, ReplacePart, AnnotatePart, AppendPart and RemoveOutside; each marshals to a
// JSON object whose "op" tells which it is.
type Edit interface {
	fmt.Stringer
	edit()
}

// ErrEdit is the error of an edit that can't be carried out: an unknown part or field, or octets that
// would break out of the place they are meant for.
var ErrEdit = errors.New("mail: edit can't be carried out")

// AddField puts a field on top of the message. Of several the first in the list of edits is topmost. The
// body is folded by the caller: CRLF may stand in it before a blank only.
type AddField struct{ Name, Body string }

// RemoveField removes a field of the message's own header, by its index in Content.Header().Fields().
type RemoveField struct{ Index int }

// ReplaceField gives a field of the message's own header another body, folded by the caller. Of several
// for one field the first stands.
type ReplaceField struct {
	Index int
	Body  string
}

// RemovePart removes a part with all that is in it. Where it was the last of its multipart, an empty text
// part takes its place. Of the root, or the root of an embedded message, the Content-* fields and the body
// are replaced by those of an empty text; the other fields stay.
type RemovePart struct{ Path string }

// ReplacePart puts another part in the place of one. Header holds its Content-* fields, Body its octets,
// already encoded as the fields say, with CRLF line ends. Of the root, or the root of an embedded message,
// the Content-* fields and the body are replaced; the other fields stay. Of several for one part the first
// stands.
type ReplacePart struct {
	Path   string
	Header []AddField
	Body   []byte
}

// AnnotatePart puts another part in the place of a leaf, as ReplacePart does, that holds all that was in it and something
// beside: nothing is lost, and so it gives way to every removal or replacement of the part or of one around it, and to a
// part that is put behind it. Of several for one part the first stands.
type AnnotatePart struct {
	Path   string
	Header []AddField
	Body   []byte
}

// AppendPart puts a part behind one of a multipart: the two become a multipart/mixed in its place, and the octets of the
// one that was there stay. Header and Body are as for ReplacePart. Where the part at Path goes, so does this; several
// for one part come one behind the other.
type AppendPart struct {
	Path   string
	Header []AddField
	Body   []byte
}

// RemoveOutside removes what stands before the first part of a multipart and behind its close delimiter (RFC 2046
// 5.1.1: preamble and epilogue, which no reader is to show).
type RemoveOutside struct{ Path string }

func (AddField) edit()      {}
func (RemoveField) edit()   {}
func (ReplaceField) edit()  {}
func (RemovePart) edit()    {}
func (ReplacePart) edit()   {}
func (AnnotatePart) edit()  {}
func (AppendPart) edit()    {}
func (RemoveOutside) edit() {}

func (e AddField) String() string     { return "add field " + e.Name }
func (e RemoveField) String() string  { return fmt.Sprintf("remove field %d", e.Index) }
func (e ReplaceField) String() string { return fmt.Sprintf("replace field %d", e.Index) }
func (e RemovePart) String() string   { return "remove part " + e.Path }
func (e ReplacePart) String() string  { return "replace part " + e.Path }

func (e AnnotatePart) String() string { return "annotate part " + e.Path }

func (e AppendPart) String() string { return "append a part to part " + e.Path }

func (e RemoveOutside) String() string { return "remove what is outside of the parts of " + e.Path }

// MarshalJSON writes {"op":"add_field","name":…,"body":…}.
func (e AddField) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Op   string `json:"op"`
		Name string `json:"name"`
		Body string `json:"body"`
	}{"add_field", e.Name, e.Body})
}

// MarshalJSON writes {"op":"remove_field","index":…}.
func (e RemoveField) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Op    string `json:"op"`
		Index int    `json:"index"`
	}{"remove_field", e.Index})
}

// MarshalJSON writes {"op":"replace_field","index":…,"body":…}.
func (e ReplaceField) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Op    string `json:"op"`
		Index int    `json:"index"`
		Body  string `json:"body"`
	}{"replace_field", e.Index, e.Body})
}

// MarshalJSON writes {"op":"remove_part","path":…}.
func (e RemovePart) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Op   string `json:"op"`
		Path string `json:"path"`
	}{"remove_part", e.Path})
}

// MarshalJSON writes {"op":"remove_outside","path":…}.
func (e RemoveOutside) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Op   string `json:"op"`
		Path string `json:"path"`
	}{"remove_outside", e.Path})
}

// MarshalJSON writes {"op":"replace_part","path":…,"header":[{"name":…,"body":…}],"body":…}, the body as
// text.
func (e ReplacePart) MarshalJSON() ([]byte, error) {
	return marshalPart("replace_part", e.Path, e.Header, e.Body)
}

// MarshalJSON writes {"op":"annotate_part",…}, as ReplacePart does.
func (e AnnotatePart) MarshalJSON() ([]byte, error) {
	return marshalPart("annotate_part", e.Path, e.Header, e.Body)
}

// MarshalJSON writes {"op":"append_part",…}, as ReplacePart does.
func (e AppendPart) MarshalJSON() ([]byte, error) {
	return marshalPart("append_part", e.Path, e.Header, e.Body)
}

func marshalPart(op, path string, header []AddField, body []byte) ([]byte, error) {
	type field struct {
		Name string `json:"name"`
		Body string `json:"body"`
	}
	fields := make([]field, len(header))
	for i, f := range header {
		fields[i] = field(f)
	}
	return json.Marshal(struct {
		Op     string  `json:"op"`
		Path   string  `json:"path"`
		Header []field `json:"header"`
		Body   string  `json:"body"`
	}{op, path, fields, string(body)})
}
