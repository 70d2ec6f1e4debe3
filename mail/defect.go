package mail

// DefectKind names a departure of a message from RFC 5322 or RFC 2045–2049 and 2231. The names are
// stable: they stand in reports and in the documentation.
type DefectKind string

// Defect is one departure of a part from the RFCs: something that readers may take differently.
type Defect struct {
	Kind   DefectKind `json:"kind"`
	Offset int64      `json:"offset"`           // where, from the start of the content
	Detail string     `json:"detail,omitempty"` // what was found, for people; may hold octets of the message
}

// Limits that were reached: what lies behind is not in the tree, and must not be called clean.
const (
	LimitHeader     DefectKind = "limit-header"     // a header has more octets or fields than are read
	LimitParts      DefectKind = "limit-parts"      // a multipart has parts beyond the limit
	LimitDepth      DefectKind = "limit-depth"      // a multipart or message lies too deep to be looked into
	LimitParameters DefectKind = "limit-parameters" // a field has more parameters, or names, than are read
)

// IsLimit reports whether the kind is a limit that was reached: a part with such a defect was not looked
// at as a whole, and nothing may be said of the rest.
func (k DefectKind) IsLimit() bool {
	return k == LimitHeader || k == LimitParts || k == LimitDepth || k == LimitParameters
}

// Departures in the header of a message or part.
const (
	MalformedField        DefectKind = "malformed-field"         // a header line that is no field
	HiddenField           DefectKind = "hidden-field"            // a line that is no field, or the folded line of one, and looks like one about content
	MboxFrom              DefectKind = "mbox-from"               // the header begins with an mbox "From " line
	NoBlankLine           DefectKind = "no-blank-line"           // no blank line between header and body
	BlankBeforeColon      DefectKind = "blank-before-colon"      // blanks between a field's name and its colon
	BlankFold             DefectKind = "blank-fold"              // a folded line of nothing but blanks
	HeaderInBody          DefectKind = "header-in-body"          // no header, and a body that begins like one
	LongField             DefectKind = "long-field"              // a Content-* field longer than readers take
	DuplicateContentField DefectKind = "duplicate-content-field" // a Content-* field stands twice, and says another thing
	NoMIMEVersion         DefectKind = "no-mime-version"         // MIME fields, but no MIME-Version
	BadContentType        DefectKind = "bad-content-type"        // a Content-Type that is no media type
	UnclearType           DefectKind = "unclear-type"            // a broken Content-Type that some read as a multipart or message
	BadParameter          DefectKind = "bad-parameter"           // a parameter that breaks the syntax
	DuplicateParameter    DefectKind = "duplicate-parameter"     // a parameter stands twice, or in two forms
	EncodedParameter      DefectKind = "encoded-parameter"       // an RFC 2047 encoded word in a parameter
	UnknownCharset        DefectKind = "unknown-charset"         // a name in a charset that readers do not know, or in which ASCII is no ASCII
	ConflictingNames      DefectKind = "conflicting-names"       // the header gives several file names
	UnknownEncoding       DefectKind = "unknown-encoding"        // a Content-Transfer-Encoding nobody defined
	BadEncoding           DefectKind = "bad-encoding"            // a Content-Transfer-Encoding field with more than a token
	EncodedMultipart      DefectKind = "encoded-multipart"       // a multipart with base64, quoted-printable or the like
	EncodedMessage        DefectKind = "encoded-message"         // an embedded message with base64, quoted-printable or the like
	PartialMessage        DefectKind = "partial-message"         // message/partial: the rest is elsewhere
	ExternalBody          DefectKind = "external-body"           // message/external-body: the content is elsewhere
)

// Departures in the structure of multiparts.
const (
	NoBoundary          DefectKind = "no-boundary"           // a multipart without a boundary parameter
	BadBoundary         DefectKind = "bad-boundary"          // a boundary of octets or length that RFC 2046 does not allow
	SeveralBoundaries   DefectKind = "several-boundaries"    // the boundary parameter has several readings
	BoundaryReused      DefectKind = "boundary-reused"       // the boundary of an enclosing multipart again
	BoundaryPrefix      DefectKind = "boundary-prefix"       // a line that begins like a delimiter and goes on
	BoundaryInText      DefectKind = "boundary-in-text"      // something like a delimiter that is no delimiter line
	UnexpectedMultipart DefectKind = "unexpected-multipart"  // delimiter lines in what is no multipart
	NoParts             DefectKind = "no-parts"              // a multipart in which no delimiter line was found
	NoClosingBoundary   DefectKind = "no-closing-boundary"   // a multipart ends without its close delimiter
	PartsAfterClose     DefectKind = "parts-after-close"     // delimiter lines behind the close delimiter
	BlanksAfterBoundary DefectKind = "blanks-after-boundary" // blanks at the end of a delimiter line
	FieldsOutside       DefectKind = "fields-outside"        // Content-* fields before the first part or behind the last
)

// Departures in the encoding of a body; Part.Decode finds them.
const (
	BadBase64          DefectKind = "bad-base64"           // base64 with foreign octets, odd lines or padding inside
	BadQuotedPrintable DefectKind = "bad-quoted-printable" // an escape that is none
)

// ambiguous holds the departures for which readers are known to find other parts, or other octets in them. The
// others are read alike by all, or in ways that are all looked at: names.
var ambiguous = map[DefectKind]bool{
	MalformedField: true, HiddenField: true, NoBlankLine: true, BlankBeforeColon: true, BlankFold: true, HeaderInBody: true, LongField: true,
	DuplicateContentField: true, UnclearType: true, BadParameter: true, UnknownEncoding: true, BadEncoding: true,
	EncodedMultipart: true, NoBoundary: true, BadBoundary: true, SeveralBoundaries: true, BoundaryReused: true,
	BoundaryPrefix: true, BoundaryInText: true, UnexpectedMultipart: true, NoParts: true, PartsAfterClose: true,
	BlanksAfterBoundary: true, FieldsOutside: true, UnknownCharset: true, BadBase64: true, BadQuotedPrintable: true,
}

// Ambiguous reports whether two readers may find different things in a part with such a defect, so that it has to
// be serialised anew before anybody may rely on what was found in it (see Rewrite).
func (k DefectKind) Ambiguous() bool { return ambiguous[k] }
