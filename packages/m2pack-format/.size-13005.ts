export * from '@keyturn/m2pack-format/node'
