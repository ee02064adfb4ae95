package footer

// Project returns a footer with a single column, which must not be nested, for
// readers that need not, or cannot, know the others.
func (m *Meta) Project(column int) ([]byte, error) {
	schema, err := structs(m.top, fileSchema)
	if err != nil {
		return nil, err
	}
	elements := appendListHeader(nil, typeStruct, 2)
	err = schema.each(func(i int, raw []byte) error {
		fields, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		if i == 0 {
			elements = appendStruct(elements, setInteger(fields, schemaChildren, typeI32, 1))
			return nil
		}
		if i != m.Columns[column].element {
			return nil
		}
		elements = append(elements, raw...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	groups, err := structs(m.top, fileGroups)
	if err != nil {
		return nil, err
	}
	projected := appendListHeader(nil, typeStruct, groups.count)
	err = groups.each(func(_ int, raw []byte) error {
		fields, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		columns, err := structs(fields, groupColumns)
		if err != nil {
			return err
		}
		one := appendListHeader(nil, typeStruct, 1)
		err = columns.each(func(i int, raw []byte) error {
			if i == column {
				one = append(one, raw...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		fields = remove(set(fields, field{id: groupColumns, typ: typeList, value: one}), groupSorting)
		projected = appendStruct(projected, fields)
		return nil
	})
	if err != nil {
		return nil, err
	}
	top := append([]field(nil), m.top...)
	top = set(top, field{id: fileSchema, typ: typeList, value: elements})
	top = set(top, field{id: fileGroups, typ: typeList, value: projected})
	return appendStruct(nil, remove(remove(top, fileKeyValues), fileColumnOrders)), nil
}
