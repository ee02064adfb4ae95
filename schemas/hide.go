package schemas

import (
	"bytes"
	"encoding/base64"
	"regexp"
)

// Hidden stands in the place of what Hide has masked.
const Hidden = "[hidden]"

var (
	email    = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	apiKey   = regexp.MustCompile(`((?:EUID|UID2)-[A-Z]-[A-Z]-\d+-)[A-Za-z0-9+/=._-]{12,}`)
	longWord = regexp.MustCompile(`[A-Za-z0-9+/_-]{43,}=?`)
)

// Hide masks what looks like an id, a client secret, an API key or an e-mail
// address in text that is meant to be read. It is a last line of defence: text
// of our own making holds none, but what a user typed may.
func Hide(text []byte) []byte {
	if bytes.IndexByte(text, '@') >= 0 {
		text = email.ReplaceAll(text, []byte(Hidden))
	}
	return HideIDs(text)
}

// HideIDs is Hide without e-mail addresses.
func HideIDs(text []byte) []byte {
	text = apiKey.ReplaceAll(text, []byte("${1}"+Hidden))
	return longWord.ReplaceAllFunc(text, hideWord)
}

// hideWord masks the ids in a word, which can be a path with an id in it, or an
// option made of one. An id, which may hold slashes itself, begins and ends at
// the word's ends or at a slash.
func hideWord(word []byte) []byte {
	for from := 0; from < len(word); from++ {
		if from > 0 && word[from-1] != '/' && word[from-1] != '-' {
			continue
		}
		for size := TextSize + 1; size >= TextSize-1; size-- {
			to := from + size
			if to > len(word) || to < len(word) && word[to] != '/' || !isID(word[from:to]) {
				continue
			}
			if word[to-1] != '=' && size < TextSize && (len(bytes.TrimLeft(word, "-")) > size || isPath(word)) {
				continue // any 43 characters spell 32 bytes: more likely a part of a path
			}
			return append(append(bytes.Clone(word[:from]), Hidden...), hideWord(word[to:])...)
		}
	}
	return word
}

// isPath tells whether a word looks like an absolute path of three folders or
// more. Of 500 ids without padding one does too.
func isPath(word []byte) bool {
	return word[0] == '/' && bytes.Count(word, []byte("/")) >= 3
}

// isID tells whether text spells the bytes of an id, padded or not, in either
// alphabet of base64. Text without an upper case letter, a lower case letter
// and a digit is taken for words: of 1,000 ids one has no digit.
func isID(text []byte) bool {
	const upper, lower, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
	if !bytes.ContainsAny(text, upper) || !bytes.ContainsAny(text, lower) || !bytes.ContainsAny(text, digits) {
		return false
	}
	text = bytes.TrimRight(text, "=")
	encoding := base64.RawStdEncoding
	if bytes.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	raw, err := encoding.AppendDecode(nil, text)
	if err != nil {
		return false
	}
	_, err = FromRaw(raw)
	return err == nil
}
