package envelope_test

import (
	"errors"
	"fmt"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

// A client seals a request, an operator opens it and seals its answer with the
// nonce of the request, and only then does the client take it.
func ExampleCipher() {
	cipher, err := envelope.NewCipher(schemas.NewSecret("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))
	if err != nil {
		fmt.Println(err)
		return
	}
	nonce := envelope.Nonce{1, 2, 3, 4, 5, 6, 7, 8} // random, as are the IVs
	sealed := cipher.SealRequest(nil, envelope.Request{TimeMS: 1767225600000, Nonce: nonce, Payload: []byte(`{"advertising_ids":[]}`)}, [12]byte{1})
	request, err := cipher.OpenRequest(nil, sealed)
	fmt.Println(string(request.Payload), err)

	answer := cipher.SealResponse(nil, envelope.Request{TimeMS: request.TimeMS, Nonce: request.Nonce, Payload: []byte(`{"status":"success"}`)}, [12]byte{2})
	response, err := cipher.OpenResponse(nil, answer, nonce)
	fmt.Println(string(response.Payload), err)

	_, err = cipher.OpenResponse(nil, answer, envelope.Nonce{9})
	fmt.Println(errors.Is(err, envelope.ErrNonce))
	// Output:
	// {"advertising_ids":[]} <nil>
	// {"status":"success"} <nil>
	// true
}
