package schemas

// ParseText reads the canonical text of an id and nothing else: exactly
// TextSize characters of padded standard base64 with no spare bits set. Scope,
// environment and checksum are not looked at. It is for answering like an
// operator, which looks ids up as exact text; to validate a cell of a table,
// use Rules.Parse.
func ParseText(text []byte) (id ID, ok bool) {
	if len(text) != TextSize || !decode(text, &id) {
		return ID{}, false
	}
	if id[0] == v2Tag && text[TextSize-1] != '=' {
		return ID{}, false // 33 bytes whose first byte no version uses
	}
	return id, true
}
